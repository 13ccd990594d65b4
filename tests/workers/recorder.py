"""An observer that keeps events and lets a test wait for them, and the orchestrators of these tests."""

from __future__ import annotations

import asyncio
import gc
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import anyio

from oneshot_queue.task_events import Event, OutputReceived, OutputStream, TaskStarted
from oneshot_queue.workers.orchestrator import AsyncOrchestrator
from tests.support.waiting import LIMIT_S

E = TypeVar("E", bound=Event)


class Recorder:
    """Keeps every event of every task, in order."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self._changed = asyncio.Event()

    def __call__(self, event: Event) -> None:
        self.events.append(event)
        self._changed.set()
        self._changed = asyncio.Event()

    def of(self, kind: type[E], task_id: str | None = None) -> list[E]:
        return [event for event in self.events if isinstance(event, kind) and task_id in (None, event.task_id)]

    def kinds(self, task_id: str | None = None) -> list[str]:
        return [type(event).__name__ for event in self.events if task_id in (None, event.task_id)]

    def output(self, task_id: str | None = None, stream: OutputStream = OutputStream.STDOUT) -> bytes:
        return b"".join(each.data for each in self.of(OutputReceived, task_id) if each.stream is stream)

    async def until(self, condition: Callable[[], object]) -> None:
        with anyio.move_on_after(LIMIT_S):
            while not condition():
                await self._changed.wait()
            return
        raise AssertionError(f"did not happen within {LIMIT_S:g} s; the last events: {self.events[-5:]}")

    async def started(self, task_id: str | None = None) -> TaskStarted:
        await self.until(lambda: self.of(TaskStarted, task_id))
        return self.of(TaskStarted, task_id)[0]

    async def wrote(self, text: bytes, task_id: str | None = None) -> None:
        """Wait until the command has written this text to stdout."""
        await self.until(lambda: text in self.output(task_id))


class ManualClock:
    """A clock that advances only when a test moves it."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def monotonic(self) -> float:
        return self.now

    def now_ms(self) -> int:
        return int(self.now * 1000)


def state_of(pid: int) -> str:
    """Return the state letter of a process in /proc; empty if it does not exist."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""
    return text.rpartition(")")[2].split()[0]


def descriptors() -> set[str]:
    """Return the open descriptors of this process, after a garbage collection."""
    gc.collect()
    return set(os.listdir("/proc/self/fd"))


def a_worker(recorder: Recorder, **options: Any) -> AsyncOrchestrator:
    """Return an orchestrator as in a worker process, which owns all its children."""
    return AsyncOrchestrator(**{"max_concurrent": 8, "observers": [recorder], "owns_children": True, **options})


def a_guest(recorder: Recorder, **options: Any) -> AsyncOrchestrator:
    """Return an orchestrator as in a user's application, which has other children too."""
    return a_worker(recorder, owns_children=False, **options)


def python(code: str) -> list[str]:
    """Return a command that runs a few lines of Python."""
    return [sys.executable, "-I", "-c", code]
