"""A single ``enqueue`` next to the least that a client of Redis can do: a bare ``PING`` by redis-py.

And next to what redis-py needs by itself to send the same script with the same words: nobody who stores a job as it is
stored here, and uses redis-py, is faster.
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
    """Seconds of each try: of ours, of the same words by redis-py, of its ``PING``."""

    enqueues: list[float] = field(default_factory=list)
    same_words: list[float] = field(default_factory=list)
    pings: list[float] = field(default_factory=list)


def measure(sizes: Sizes) -> Iterator[Line]:
    """Let them take turns, one by one."""
    for client, one_by_one in {"Queue": _single, "SyncQueue": _single_blocking}.items():
        with a_fleet() as fleet:
            spans = one_by_one(fleet, sizes.enqueues)
            check_waiting(fleet, 2 * sizes.enqueues)
        p50, p99 = quantiles_of(spans.enqueues, f"{client}.enqueue")
        same, _ = quantiles_of(spans.same_words, "the same words by redis-py")
        ping, _ = quantiles_of(spans.pings, "ping of redis-py")
        yield p50
        yield p99
        name = "p50 in bare round trips (PING) of redis-py"
        yield Line(f"{client}.enqueue, {name}", p50.value / ping.value, "PINGs", target=TARGET)
        yield Line(f"the words of {client}.enqueue sent by redis-py alone, {name}", same.value / ping.value, "PINGs")


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
                said = time.perf_counter()
                await client.ping()
                spans.pings.append(time.perf_counter() - said)
                spans.same_words.append(said - enqueued)
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
            said = time.perf_counter()
            client.ping()
            spans.pings.append(time.perf_counter() - said)
            spans.same_words.append(said - enqueued)
            spans.enqueues.append(enqueued - began)
    return spans


def _words(fleet: Fleet) -> tuple[Word, ...]:
    """What stores a job."""
    return enqueue.enqueue(fleet.keys, new_job_id(), JobSpec(TRUE), by="bench", max_length=1_000_000).command()
