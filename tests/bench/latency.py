"""How long one waits for one job on an idle queue, and for the death of one that is interrupted."""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import anyio

from oneshot_queue import Queue
from oneshot_queue.client.aio import Job
from oneshot_queue.pidfd import pidfd_open
from oneshot_queue.settings import Settings
from oneshot_queue.states import JobState
from tests.bench.fleet import QUEUE, TRUE, MeasurementSpoilt, a_fleet
from tests.bench.report import Line, Mark, quantiles_of
from tests.bench.sizes import Sizes
from tests.waiting import eventually

RESULT_MARK = Mark.at_most(10.0)
DEATH_MARK = Mark.at_most(15.0)
GROUP: Final = ("/bin/sh", "-c", "sleep 300 & wait")
"""A leader and a child: the group is dead when both are."""

SLOTS: Final = 4


def measure(sizes: Sizes) -> Iterator[Line]:
    """One after another, so that the queue is idle whenever a clock starts."""
    with a_fleet() as fleet:
        fleet.start_worker(1, concurrency=SLOTS, warm_up=sizes.warm_up)
        yield from quantiles_of(anyio.run(_results, fleet.url, sizes.results), "enqueue to result", RESULT_MARK)
        spans = anyio.run(_interrupts, fleet.url, sizes.interrupts)
        yield from quantiles_of([dead_s for dead_s, _ in spans], "interrupt to group dead", DEATH_MARK)
        yield from quantiles_of([said_s for _, said_s in spans], "interrupt to its confirmation")


async def _results(url: str, count: int) -> list[float]:
    spans = []
    async with Queue(url, queue=QUEUE, settings=Settings()) as queue:
        for _ in range(count):
            await _idle()
            began = time.perf_counter()
            job = await queue.enqueue(TRUE)
            outcome = await job.wait()
            spans.append(time.perf_counter() - began)
            if outcome.state is not JobState.COMPLETED:
                raise MeasurementSpoilt(f"a job ended {outcome.state}: {outcome.error}")
    return spans


async def _interrupts(url: str, count: int) -> list[tuple[float, float]]:
    """Each time: seconds to the death of the last process, and to the return of ``interrupt``."""
    spans = []
    async with Queue(url, queue=QUEUE, settings=Settings()) as queue:
        for _ in range(count):
            job = await queue.enqueue(GROUP)
            group = await _group_of(job)
            await _idle()
            with Deaths(group) as deaths:
                began = time.perf_counter()
                report = await job.interrupt()
                said = time.perf_counter()
                dead = await deaths.last()
            spans.append((dead - began, said - began))
            if report.state is not JobState.INTERRUPTED:
                raise MeasurementSpoilt(f"an interrupted job ended {report.state}")
    return spans


class Deaths:
    """Sees processes exit through descriptors that stand for them and nobody else."""

    def __init__(self, pids: Sequence[int]) -> None:
        self._pids = pids
        self._alive: set[int] = set()
        self._last_at = 0.0
        self._all = asyncio.Event()

    def __enter__(self) -> Self:
        loop = asyncio.get_running_loop()
        for pid in self._pids:
            fd = pidfd_open(pid)
            self._alive.add(fd)
            loop.add_reader(fd, self._bury, fd)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for fd in list(self._alive):
            self._close(fd)

    async def last(self) -> float:
        """Wait until all are dead; when the last one was seen to be, by ``time.perf_counter``."""
        await self._all.wait()
        return self._last_at

    def _bury(self, fd: int) -> None:
        self._last_at = time.perf_counter()
        self._close(fd)
        if not self._alive:
            self._all.set()

    def _close(self, fd: int) -> None:
        self._alive.discard(fd)
        asyncio.get_running_loop().remove_reader(fd)
        os.close(fd)


async def _group_of(job: Job) -> list[int]:
    """Wait until both processes of ``GROUP`` run."""

    async def leader() -> int | None:
        record = (await job.refresh()).record
        return None if record is None else record.pid

    async def group() -> list[int]:
        pid = await leader()
        return [] if pid is None else [pid, *_children(pid)]

    return await eventually(group, lambda pids: len(pids) == 2, what="the job's two processes")


def _children(pid: int) -> list[int]:
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except (FileNotFoundError, ProcessLookupError):
        return []


async def _idle() -> None:
    # Long enough for a worker to be back at its doorbell; of uneven length, lest it fall in step with something.
    await anyio.sleep(random.uniform(0.005, 0.02))
