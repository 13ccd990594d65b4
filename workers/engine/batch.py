"""What lies between a blocking ``run_commands`` and the orchestrator that does its work."""

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
    """The orchestrator, as far as a batch needs it."""

    async def wait_for_slot(self) -> None:
        """Wait until a command could start at once."""

    def submit(self, spec: JobSpec, *, on_end: Callable[[Any, Outcome], None]) -> object:
        """Start a command as soon as a slot is free."""

    def interrupt_all(self, *, grace: float | None, reason: str) -> object:
        """End all commands."""

    async def wait_until_idle(self) -> None:
        """Wait until no command is left."""


class Batch:
    """Feeds commands to an orchestrator, keeps their outcomes in order, and ends all of them if something breaks."""

    def __init__(self, specs: Sequence[JobSpec], on_event: Observer | None) -> None:
        self._specs = specs
        self._on_event = on_event
        self._outcomes: list[Outcome | None] = [None] * len(specs)
        self._error: BaseException | None = None
        self._orchestrator: Runner | None = None

    async def run(self, orchestrator: Runner, *, ends_on_ctrl_c: bool) -> None:
        """Run every command to its end, or until something has gone wrong and all were ended."""
        self._orchestrator = orchestrator
        async with orchestrator:
            with _on_ctrl_c(self._interrupt) if ends_on_ctrl_c else nullcontext():
                for index, spec in enumerate(self._specs):
                    # Only as many as can run: a task costs memory while it waits.
                    await orchestrator.wait_for_slot()
                    if self._error is not None:
                        break
                    orchestrator.submit(spec, on_end=partial(self._keep, index))
                await orchestrator.wait_until_idle()

    def result(self) -> list[Outcome]:
        """The outcomes in the order of the commands.

        Raises:
            BaseException: What cut the run short: ``KeyboardInterrupt``, or what the caller's observer raised.
        """
        if self._error is not None:
            raise self._error
        return [outcome for outcome in self._outcomes if outcome is not None]

    def observe(self, event: Event) -> None:
        """Pass an event to the caller's observer; what that raises ends every command."""
        if self._on_event is None:
            return
        try:
            self._on_event(event)
        except Exception as error:  # noqa: BLE001 - whatever it is, the caller gets it once nothing runs any more
            if self._error is None:
                self._error = error
                self._end_all(grace=0.0)

    def _interrupt(self) -> None:
        self._end_all(grace=None if self._error is None else 0.0)
        if self._error is None:
            self._error = KeyboardInterrupt()

    def _end_all(self, grace: float | None) -> None:
        assert self._orchestrator is not None
        self._orchestrator.interrupt_all(grace=grace, reason="the run was cut short")

    def _keep(self, index: int, _: object, outcome: Outcome) -> None:
        self._outcomes[index] = outcome


def handles_ctrl_c() -> bool:
    """Whether Ctrl-C would raise ``KeyboardInterrupt`` here; a program with a handler of its own keeps it."""
    is_main = threading.current_thread() is threading.main_thread()
    return is_main and signal.getsignal(signal.SIGINT) is signal.default_int_handler


@contextmanager
def _on_ctrl_c(action: Callable[[], None]) -> Iterator[None]:
    """Call ``action`` for every Ctrl-C inside the block; afterwards Python's own handler is back."""
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGINT, action)
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGINT)
