"""Checks all running tasks for silence and time limits, with one timer for all of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from typing import Final, Protocol

import anyio

from oneshot_queue.spec import JobSpec

_SHORTEST_S: Final = 0.01


class Monitored(Protocol):
    """The part of a task that the heartbeat uses."""

    @property
    def spec(self) -> JobSpec:
        """The command, with its limits."""

    async def _monitor_health(self) -> None: ...


def check_interval_s(spec: JobSpec) -> float:
    """Return how often to check a task, in seconds, so that no limit is overrun by more than a quarter."""
    limits = [limit for limit in (spec.idle_after, spec.idle_timeout, spec.time_limit) if limit is not None]
    return max(_SHORTEST_S, min(limits) / 4) if limits else math.inf


class Heartbeat:
    """Checks every running task each ``period_s`` seconds, or more often if a task has a short limit.

    With no task running, the heartbeat sleeps.

    Args:
        tasks: A live view of the running tasks.
        on_beat: Called after each pass.
    """

    def __init__(self, tasks: Collection[Monitored], *, period_s: float, on_beat: Callable[[], None]) -> None:
        self._tasks = tasks
        self._period_s = period_s
        self._on_beat = on_beat
        self._interval_s = math.inf
        self._woken = anyio.Event()

    def hasten(self, task: Monitored) -> None:
        """Check sooner if this task, which is about to run, has a shorter limit than the others."""
        if min(self._period_s, check_interval_s(task.spec)) < self._interval_s:
            self._woken.set()

    async def run(self) -> None:
        """Check the tasks until cancelled."""
        while True:
            self._interval_s = min((check_interval_s(task.spec) for task in self._tasks), default=math.inf)
            if self._tasks:
                self._interval_s = min(self._interval_s, self._period_s)
            with anyio.move_on_after(self._interval_s):
                await self._woken.wait()
            if self._woken.is_set():
                self._woken = anyio.Event()
                continue
            await self.run_once()

    async def run_once(self) -> int:
        """Check every running task once. Return how many there were."""
        tasks = list(self._tasks)
        for task in tasks:
            await task._monitor_health()  # noqa: SLF001 - the project's plan fixes this name
        self._on_beat()
        return len(tasks)
