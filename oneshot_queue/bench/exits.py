"""When processes exit, to the microsecond."""

from __future__ import annotations

import os
import select
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Final, Self

from oneshot_queue.bench.figures import MeasurementSpoilt
from oneshot_queue.pidfd import pidfd_open

PATIENCE_S: Final = 60.0


class ProcessExits:
    """Waits until processes have exited, by pidfds. Create it while the processes are still alive."""

    def __init__(self, pids: Sequence[int]) -> None:
        self._alive = [pidfd_open(pid) for pid in pids]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        while self._alive:
            os.close(self._alive.pop())

    def wait(self) -> float:
        """Wait until all have exited, and return the time by ``time.perf_counter``.

        Raises:
            MeasurementSpoilt: One is still alive after a minute.
        """
        deadline = time.monotonic() + PATIENCE_S
        for fd in self._alive:
            poll = select.poll()
            poll.register(fd, select.POLLIN)
            if not poll.poll(max(0.0, deadline - time.monotonic()) * 1e3):
                raise MeasurementSpoilt(f"a process of an ended job is still alive after {PATIENCE_S:g} s")
        return time.perf_counter()
