"""A single ``enqueue`` next to the least that a client of Redis can do: a bare ``PING`` by redis-py."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Final

import anyio
import redis
import redis.asyncio

from oneshot_queue import Queue
from oneshot_queue.bench.enqueueing import check_waiting
from oneshot_queue.bench.figures import Line, Mark, quantiles_of
from oneshot_queue.bench.fleet import QUEUE, TRUE, Fleet
from tests.bench.fleet import a_fleet
from tests.bench.sizes import Sizes

MARK: Final = Mark.at_most(1.3)
Spans = tuple[list[float], list[float]]


def measure(sizes: Sizes) -> Iterator[Line]:
    """Let them take turns, one by one."""
    for client, one_by_one in {"Queue": _single, "SyncQueue": _single_blocking}.items():
        with a_fleet() as fleet:
            enqueues, pings = one_by_one(fleet, sizes.enqueues)
            check_waiting(fleet, sizes.enqueues)
        p50, p99 = quantiles_of(enqueues, f"{client}.enqueue")
        ping, _ = quantiles_of(pings, "ping of redis-py")
        yield p50
        yield p99
        name = f"{client}.enqueue, p50 in bare round trips (PING) of redis-py"
        yield Line(name, p50.value / ping.value, "PINGs", mark=MARK)


def _single(fleet: Fleet, count: int) -> Spans:
    async def measured() -> Spans:
        enqueues, pings = [], []
        async with (
            Queue(queue=QUEUE, settings=fleet.settings) as queue,
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
    with redis.Redis.from_url(fleet.url) as client:
        for _ in range(count):
            began = time.perf_counter()
            fleet.queue.enqueue(TRUE)
            enqueued = time.perf_counter()
            client.ping()
            enqueues.append(enqueued - began)
            pings.append(time.perf_counter() - enqueued)
    return enqueues, pings
