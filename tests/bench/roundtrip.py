"""A single ``enqueue`` next to the minimum for a client of Redis: a bare ``PING`` with redis-py.

And next to the same script call sent by redis-py alone, which is the lower bound for any client that uses redis-py and
stores a job in this way.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

import anyio
import redis
import redis.asyncio

from oneshot_queue import Queue
from oneshot_queue.bench.enqueueing import check_waiting
from oneshot_queue.bench.figures import Line, Target, quantiles_of
from oneshot_queue.bench.fleet import QUEUE, TRUE, Fleet
from oneshot_queue.jobs import new_job_id
from oneshot_queue.spec import JobSpec
from oneshot_queue.store import enqueue
from oneshot_queue.store.calls import Word
from tests.bench.fleet import a_fleet
from tests.bench.sizes import Sizes

TARGET: Final = Target.at_most(1.3)


@dataclass(frozen=True, slots=True)
class Spans:
    """Seconds of each sample: our ``enqueue``, the same command sent by redis-py, and its ``PING``."""

    enqueues: list[float] = field(default_factory=list)
    same_command: list[float] = field(default_factory=list)
    pings: list[float] = field(default_factory=list)


def measure(sizes: Sizes) -> Iterator[Line]:
    """Measure all three in turns, one call at a time."""
    for client, one_by_one in {"Queue": _single, "SyncQueue": _single_blocking}.items():
        with a_fleet() as fleet:
            spans = one_by_one(fleet, sizes.enqueues)
            check_waiting(fleet, 2 * sizes.enqueues)
        p50, p99 = quantiles_of(spans.enqueues, f"{client}.enqueue")
        same, _ = quantiles_of(spans.same_command, "the same command by redis-py")
        ping, _ = quantiles_of(spans.pings, "ping of redis-py")
        yield p50
        yield p99
        name = "p50 in bare round trips (PING) of redis-py"
        yield Line(f"{client}.enqueue, {name}", p50.value / ping.value, "PINGs", target=TARGET)
        yield Line(f"the command of {client}.enqueue sent by redis-py alone, {name}", same.value / ping.value, "PINGs")


def _single(fleet: Fleet, count: int) -> Spans:
    async def measured() -> Spans:
        spans = Spans()
        async with (
            Queue(queue=QUEUE, settings=fleet.settings) as queue,
            redis.asyncio.Redis.from_url(fleet.url) as client,
        ):
            for _ in range(count):
                words = _words(fleet)
                began = time.perf_counter()
                await queue.enqueue(TRUE)
                enqueued = time.perf_counter()
                await client.execute_command(*words)  # type: ignore[no-untyped-call]
                sent = time.perf_counter()
                await client.ping()
                spans.pings.append(time.perf_counter() - sent)
                spans.same_command.append(sent - enqueued)
                spans.enqueues.append(enqueued - began)
        return spans

    return anyio.run(measured)


def _single_blocking(fleet: Fleet, count: int) -> Spans:
    spans = Spans()
    with redis.Redis.from_url(fleet.url) as client:
        for _ in range(count):
            words = _words(fleet)
            began = time.perf_counter()
            fleet.queue.enqueue(TRUE)
            enqueued = time.perf_counter()
            client.execute_command(*words)
            sent = time.perf_counter()
            client.ping()
            spans.pings.append(time.perf_counter() - sent)
            spans.same_command.append(sent - enqueued)
            spans.enqueues.append(enqueued - began)
    return spans


def _words(fleet: Fleet) -> tuple[Word, ...]:
    """The command that stores a job."""
    return enqueue.enqueue(fleet.keys, new_job_id(), JobSpec(TRUE), by="bench", max_length=1_000_000).command()
