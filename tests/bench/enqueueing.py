"""How fast jobs are accepted: many at once, and one by one."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import anyio
import redis.asyncio

from oneshot_queue import Queue
from oneshot_queue.client.aio import Job
from oneshot_queue.settings import Settings
from tests.bench.fleet import QUEUE, TRUE, Fleet, MeasurementSpoilt, a_fleet, accepted
from tests.bench.report import Line, Mark, median_of, quantiles_of
from tests.bench.sizes import Sizes

MARK = Mark.at_least(20_000)
Spans = tuple[list[float], list[float]]


def measure(sizes: Sizes) -> Iterator[Line]:
    """Let the asynchronous and the blocking client take turns, each on a fresh server without workers."""
    ways: dict[str, Callable[[Fleet, int], float]] = {"Queue": _many, "SyncQueue": _many_blocking}
    rates: dict[str, list[float]] = {client: [] for client in ways}
    for _ in range(sizes.rounds):
        for client, way in ways.items():
            with a_fleet() as fleet:
                rates[client].append(sizes.enqueued / way(fleet, sizes.enqueued))
                if fleet.unfinished() != sizes.enqueued:
                    raise MeasurementSpoilt(f"{fleet.unfinished()} jobs wait instead of {sizes.enqueued}")
    for client, found in rates.items():
        yield median_of(found, f"{client}.enqueue_many of {sizes.enqueued:,}", "jobs/s", MARK)
    for client, one_by_one in {"Queue": _single, "SyncQueue": _single_blocking}.items():
        with a_fleet() as fleet:
            enqueues, pings = one_by_one(fleet, sizes.enqueues)
            if fleet.unfinished() != sizes.enqueues:
                raise MeasurementSpoilt(f"{fleet.unfinished()} jobs wait instead of {sizes.enqueues}")
        p50, p99 = quantiles_of(enqueues, f"{client}.enqueue")
        ping, _ = quantiles_of(pings, "ping of redis-py")
        yield p50
        yield p99
        yield Line(f"{client}.enqueue, p50 in bare round trips (PING) of redis-py", p50.value / ping.value, "PINGs")


def _many(fleet: Fleet, count: int) -> float:
    async def measured() -> float:
        async with Queue(fleet.url, queue=QUEUE, settings=Settings()) as queue:
            commands = [TRUE] * count
            began = time.perf_counter()
            answers = await queue.enqueue_many(commands)
            took_s = time.perf_counter() - began
            if not all(isinstance(each, Job) for each in answers):
                raise MeasurementSpoilt("jobs were refused")
            return took_s

    return anyio.run(measured)


def _many_blocking(fleet: Fleet, count: int) -> float:
    commands = [TRUE] * count
    began = time.perf_counter()
    answers = fleet.queue.enqueue_many(commands)
    took_s = time.perf_counter() - began
    accepted(answers)
    return took_s


def _single(fleet: Fleet, count: int) -> Spans:
    async def measured() -> Spans:
        enqueues, pings = [], []
        async with (
            Queue(fleet.url, queue=QUEUE, settings=Settings()) as queue,
            redis.asyncio.Redis.from_url(fleet.url) as client,
        ):
            for _ in range(count):
                began = time.perf_counter()
                await queue.enqueue(TRUE)
                enqueued = time.perf_counter()
                await client.ping()
                enqueues.append(enqueued - began)
                pings.append(time.perf_counter() - enqueued)
        return enqueues, pings

    return anyio.run(measured)


def _single_blocking(fleet: Fleet, count: int) -> Spans:
    enqueues, pings = [], []
    for _ in range(count):
        began = time.perf_counter()
        fleet.queue.enqueue(TRUE)
        enqueued = time.perf_counter()
        fleet.client.ping()
        enqueues.append(enqueued - began)
        pings.append(time.perf_counter() - enqueued)
    return enqueues, pings
