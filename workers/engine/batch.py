"""Runs a list of commands for a blocking caller: keeps outcomes in order, and ends everything on the first error."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any, Protocol

from oneshot_queue.outcomes import Outcome
from oneshot_queue.spec import JobSpec
from oneshot_queue.task_events import Event, Observer


class Runner(AbstractAsyncContextManager[Any], Protocol):
    """The part of the orchestrator that a batch uses."""

    async def wait_for_slot(self) -> None:
        """Wait until a slot is free."""

    def submit(self, spec: JobSpec, *, on_end: Callable[[Any, Outcome], None]) -> object:
        """Start a command when a slot is free, and call ``on_end`` with its outcome."""

    def interrupt_all(self, *, grace: float | None, reason: str) -> object:
        """Interrupt every command."""

    async def wait_until_idle(self) -> None:
        """Wait until every command has ended."""


class Batch:
    """Submits commands, keeps their outcomes in order, and ends all of them on Ctrl-C or an error of the observer.

    Args:
        specs: The commands, in the order of their outcomes.
        on_event: The caller's observer, if any. Its first error ends the batch.
    """

    def __init__(self, specs: Sequence[JobSpec], on_event: Observer | None) -> None:
        self._specs = specs
        self._on_event = on_event
        self._outcomes: list[Outcome | None] = [None] * len(specs)
        self._error: BaseException | None = None
        self._orchestrator: Runner | None = None

    async def run(self, orchestrator: Runner, *, ends_on_ctrl_c: bool) -> None:
        """Run every command to its end. After Ctrl-C or an observer's error, end the running ones and start no more."""
        self._orchestrator = orchestrator
        async with orchestrator:
            with _on_ctrl_c(self._interrupt) if ends_on_ctrl_c else nullcontext():
                for index, spec in enumerate(self._specs):
                    # Submit only what can run now: a waiting task costs memory.
                    await orchestrator.wait_for_slot()
                    if self._error is not None:
                        break
                    orchestrator.submit(spec, on_end=partial(self._keep, index))
                await orchestrator.wait_until_idle()

    def result(self) -> list[Outcome]:
        """Return the outcomes in the order of the commands.

        Raises:
            KeyboardInterrupt: Ctrl-C was pressed.
            Exception: The error of the caller's observer.
        """
        if self._error is not None:
            raise self._error
        return [outcome for outcome in self._outcomes if outcome is not None]

    def observe(self, event: Event) -> None:
        """Pass an event to the caller's observer. Its first error kills every command."""
        if self._on_event is None:
            return
        try:
            self._on_event(event)
        except Exception as error:  # noqa: BLE001 - ``result`` raises it to the caller, once no command is running
            if self._error is None:
                self._error = error
                self._end_all(grace=0.0)

    def _interrupt(self) -> None:
        self._end_all(grace=None if self._error is None else 0.0)
        if self._error is None:
            self._error = KeyboardInterrupt()

    def _end_all(self, grace: float | None) -> None:
        assert self._orchestrator is not None
        self._orchestrator.interrupt_all(grace=grace, reason="the batch was stopped")

    def _keep(self, index: int, _: object, outcome: Outcome) -> None:
        self._outcomes[index] = outcome


def handles_ctrl_c() -> bool:
    """Return whether Ctrl-C raises ``KeyboardInterrupt`` in this thread. A program's own handler is left in place."""
    is_main = threading.current_thread() is threading.main_thread()
    return is_main and signal.getsignal(signal.SIGINT) is signal.default_int_handler


@contextmanager
def _on_ctrl_c(action: Callable[[], None]) -> Iterator[None]:
    """Call ``action`` for every Ctrl-C inside the block, then restore Python's own handler."""
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGINT, action)
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGINT)
