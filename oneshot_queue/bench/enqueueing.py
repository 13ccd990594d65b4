"""How fast jobs are enqueued: many at once, and one by one."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Final

import anyio

from oneshot_queue.bench.figures import Line, MeasurementSpoilt, Target, median_of, quantiles_of
from oneshot_queue.bench.fleet import QUEUE, TRUE, Fleet, FleetFactory, accepted_jobs
from oneshot_queue.bench.sizes import Sizes
from oneshot_queue.client.async_queue import Job, Queue

MANY_TARGET: Final = Target.at_least(50_000)


def measure(new_fleet: FleetFactory, sizes: Sizes) -> Iterator[Line]:
    """Measure both clients in turns with many jobs, then single jobs; without workers."""
    clients: dict[str, Callable[[Fleet, int], float]] = {"Queue": _many, "SyncQueue": _many_blocking}
    rates: dict[str, list[float]] = {client: [] for client in clients}
    for _ in range(sizes.rounds):
        for client, enqueue_s in clients.items():
            with new_fleet() as fleet:
                rates[client].append(sizes.enqueued / enqueue_s(fleet, sizes.enqueued))
                check_waiting(fleet, sizes.enqueued)
    for client, found in rates.items():
        yield median_of(found, f"{client}.enqueue_many of {sizes.enqueued:,}", "jobs/s", MANY_TARGET)
    with new_fleet() as fleet:
        spans_s = [_single(fleet) for _ in range(sizes.enqueues)]
        check_waiting(fleet, sizes.enqueues)
    yield from quantiles_of([enqueue_s for enqueue_s, _ in spans_s], "SyncQueue.enqueue")
    yield from quantiles_of([ping_s for _, ping_s in spans_s], "SyncQueue.ping, a bare round trip")


def check_waiting(fleet: Fleet, count: int) -> None:
    """Check that exactly ``count`` jobs wait.

    Raises:
        MeasurementSpoilt: It is another number.
    """
    if fleet.unfinished() != count:
        raise MeasurementSpoilt(f"{fleet.unfinished()} jobs wait instead of {count}")


def _many(fleet: Fleet, count: int) -> float:
    async def measured() -> float:
        async with Queue(queue=QUEUE, settings=fleet.settings) as queue:
            await queue.ping()
            commands = [TRUE] * count
            began = time.perf_counter()
            answers = await queue.enqueue_many(commands)
            took_s = time.perf_counter() - began
            if not all(isinstance(each, Job) for each in answers):
                raise MeasurementSpoilt("jobs were refused")
            return took_s

    return anyio.run(measured)


def _many_blocking(fleet: Fleet, count: int) -> float:
    fleet.queue.ping()
    commands = [TRUE] * count
    began = time.perf_counter()
    answers = fleet.queue.enqueue_many(commands)
    took_s = time.perf_counter() - began
    accepted_jobs(answers)
    return took_s


def _single(fleet: Fleet) -> tuple[float, float]:
    began = time.perf_counter()
    fleet.queue.enqueue(TRUE)
    enqueued = time.perf_counter()
    fleet.queue.ping()
    return enqueued - began, time.perf_counter() - enqueued
