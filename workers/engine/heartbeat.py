"""One pulse for all tasks: who is silent, who is over a limit."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from typing import Final, Protocol

import anyio

from oneshot_queue.spec import JobSpec

_SHORTEST_S: Final = 0.01


class Monitored(Protocol):
    """A task, as far as its heartbeat needs it."""

    @property
    def spec(self) -> JobSpec:
        """The limits to watch."""

    def _monitor_health(self) -> None: ...


def pace_s(spec: JobSpec) -> float:
    """How often a task has to be looked at so that none of its limits is missed by more than a quarter."""
    limits = [limit for limit in (spec.idle_after, spec.idle_timeout, spec.time_limit) if limit is not None]
    return max(_SHORTEST_S, min(limits) / 4) if limits else math.inf


class Heartbeat:
    """Looks at every task each ``period_s``, or faster while one has a limit that asks for it; sleeps while none runs.

    Args:
        tasks: The tasks to look at, as they come and go.
        on_beat: Called after each look.
    """

    def __init__(self, tasks: Collection[Monitored], *, period_s: float, on_beat: Callable[[], None]) -> None:
        self._tasks = tasks
        self._period_s = period_s
        self._on_beat = on_beat
        self._present_s = math.inf
        self._woken = anyio.Event()

    def hasten(self, task: Monitored) -> None:
        """Take a task into account that is about to run."""
        if min(self._period_s, pace_s(task.spec)) < self._present_s:
            self._woken.set()

    async def run(self) -> None:
        """Beat for ever; ends by cancellation."""
        while True:
            self._present_s = min((pace_s(task.spec) for task in self._tasks), default=math.inf)
            if self._tasks:
                self._present_s = min(self._present_s, self._period_s)
            with anyio.move_on_after(self._present_s):
                await self._woken.wait()
            if self._woken.is_set():
                self._woken = anyio.Event()
                continue
            self.run_once()

    def run_once(self) -> int:
        """Look at every task once; how many there were."""
        tasks = list(self._tasks)
        for task in tasks:
            task._monitor_health()  # noqa: SLF001 - the plan gives the task's pulse this name
        self._on_beat()
        return len(tasks)
