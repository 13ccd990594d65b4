"""What must stay fast at scale: many waiting jobs, running jobs and workers, and much output."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

from oneshot_queue.bench.figures import Line, MeasurementSpoilt, Target
from oneshot_queue.bench.fleet import STALLED_S, TRUE, Fleet
from oneshot_queue.bench.latency import result_s
from oneshot_queue.bench.procfs import rss_bytes
from oneshot_queue.store import claims
from oneshot_queue.store.calls import plain
from oneshot_queue.store.checkup import server_info
from oneshot_queue.store.claims import MAX_CLAIM, Claimed
from oneshot_queue.store.leases import LeaseLost, register, renew
from tests.bench.fleet import a_fleet
from tests.bench.sizes import Sizes
from tests.support.faults import Monitor

FEW: Final = 100
RATIO_TARGET: Final = Target.at_most(2.0)
RENEWAL_TARGET: Final = Target.at_most(50.0)
IDLE_TARGET: Final = Target.at_most(1.0)
GROWTH_TARGET: Final = Target.at_most(100.0)
LEASES: Final = 20
IDLE_S: Final = 30.0
WRITERS: Final = 100
OTHERS: Final = 4
FEWEST: Final = 3
_PAGE: Final = 10_000


def measure(sizes: Sizes) -> Iterator[Line]:
    """Measure at four kinds of scale."""
    yield from _many_waiting(sizes)
    yield from _many_running(sizes)
    yield from _many_workers(sizes)
    yield from _much_output(sizes)


# ------------------------------------------------------------------------------------------------- jobs that wait


def _many_waiting(sizes: Sizes) -> Iterator[Line]:
    with a_fleet() as fleet:
        few = _spans(fleet, FEW, sizes.enqueues)
    with a_fleet() as fleet:
        many = _spans(fleet, sizes.waiting, sizes.enqueues)
    for verb, span_s in many.items():
        name = f"{verb} with {sizes.waiting:,} waiting jobs"
        yield Line(name, span_s * 1e3, "ms")
        yield Line(name, span_s / few[verb], f"times as long as with {FEW}", target=RATIO_TARGET)


def _spans(fleet: Fleet, waiting: int, samples: int) -> dict[str, float]:
    while (missing := waiting - fleet.unfinished()) > 0:
        last = fleet.enqueue([TRUE] * min(missing, _PAGE))[-1]
    lease = _leased(fleet)
    verbs: dict[str, Callable[[], object]] = {
        "claim": lambda: _claim(fleet, lease, 1),
        "ls": lambda: fleet.queue.list(limit=50),
        "queues": fleet.queue.queues,
        "show": lambda: fleet.queue.get(last.id),
    }
    # Fewer samples than waiting jobs: each claim takes one.
    return {verb: _median_s(do, min(samples, waiting // 2)) for verb, do in verbs.items()}


def _median_s(do: Callable[[], object], samples: int) -> float:
    spans_s = []
    for _ in range(samples):
        began = time.perf_counter()
        do()
        spans_s.append(time.perf_counter() - began)
    return statistics.median(spans_s)


# ------------------------------------------------------------------------------------------------- jobs that run


def _many_running(sizes: Sizes) -> Iterator[Line]:
    with a_fleet() as fleet:
        jobs = fleet.enqueue([TRUE] * sizes.held)
        leases = [_leased(fleet) for _ in range(LEASES)]
        held = 0
        while held < len(jobs):
            held += sum(_claim(fleet, lease, MAX_CLAIM) for lease in leases)
        before_us = _script_us(fleet)
        for lease in leases:
            answer = fleet.server.run(renew(fleet.keys, lease, 30.0, []))
            if isinstance(answer, LeaseLost):
                raise MeasurementSpoilt(f"lease {lease} was lost")
        took_ms = (_script_us(fleet) - before_us) / 1e3
    name = f"one renewal of all {LEASES} leases of {len(jobs):,} running jobs, time in Redis"
    yield Line(name, took_ms, "ms", target=RENEWAL_TARGET)


def _leased(fleet: Fleet) -> str:
    lease = f"bench.{time.monotonic_ns()}"
    fleet.server.run(register(fleet.keys, lease, 600.0))
    return lease


def _claim(fleet: Fleet, lease: str, free: int) -> int:
    who = {"lease": lease, "worker": "bench", "host": "bench"}
    answer = fleet.server.run(claims.claim(fleet.keys, free=free, settings=fleet.settings, **who))
    if not isinstance(answer, Claimed):
        raise MeasurementSpoilt(f"a claim returned {answer}")
    return len(answer.claims)


def _script_us(fleet: Fleet) -> float:
    return sum(_stat(fleet, name, "usec") for name in ("eval", "evalsha"))


def _stat(fleet: Fleet, command: str, field: str) -> float:
    info = fleet.server.run(server_info("commandstats")).get(f"cmdstat_{command}", "")
    return float(dict(word.split("=") for word in info.split(",") if word).get(field, 0))


# ------------------------------------------------------------------------------------------------- workers


def _many_workers(sizes: Sizes) -> Iterator[Line]:
    with a_fleet() as fleet, Monitor(fleet.url) as monitor:
        fleet.start_worker(sizes.workers, concurrency=sizes.workers, warm_up=sizes.workers)
        time.sleep(IDLE_S / 2)  # until their start-up work is done
        before = monitor.count_sent()
        time.sleep(IDLE_S)
        calls = monitor.count_sent() - before
        yield Line(
            f"calls of an idle worker, {sizes.workers} workers on one queue",
            calls / sizes.workers / IDLE_S,
            "calls/s",
            target=IDLE_TARGET,
        )
        before = monitor.count_sent()
        for _ in range(sizes.workers):
            result_s(fleet)
        calls = monitor.count_sent() - before
        yield Line(f"calls for one job, {sizes.workers} idle workers on its queue", calls / sizes.workers, "calls")


# ------------------------------------------------------------------------------------------------- output


def _much_output(sizes: Sizes) -> Iterator[Line]:
    with a_fleet() as fleet, ExitStack() as ending:
        fleet.start_worker(1, concurrency=WRITERS + OTHERS, warm_up=sizes.warm_up)
        (pid,) = fleet.workers[0].worker_pids
        alone_s = statistics.median(result_s(fleet) for _ in range(sizes.results))
        idle = rss_bytes(pid)
        Path(f"/proc/{pid}/clear_refs").write_text("5")  # resets its peak
        each = sizes.flood_mb * 1_000_000 // WRITERS
        with fleet.frozen_workers():
            jobs = fleet.enqueue([("/bin/sh", "-c", f"exec head -c {each} /dev/zero")] * WRITERS)
            followers = [ending.enter_context(_follow(fleet, job.id)) for job in jobs[-sizes.followers :]]
            channels = [fleet.keys.events(job.id) for job in jobs[-sizes.followers :]]
            subscriptions = plain("PUBSUB", "NUMSUB", *channels, read=lambda reply: sum(map(int, reply[1::2])))
            fleet.until(
                lambda: fleet.server.run(subscriptions), lambda listeners: listeners == len(channels), "the followers"
            )
        busy_s = []
        while fleet.unfinished():
            busy_s.append(result_s(fleet))
        if len(busy_s) < FEWEST:
            raise MeasurementSpoilt(f"the writers had ended after {len(busy_s)} other jobs")
        if ends := [end for follower in followers if (end := follower.wait(STALLED_S)) != 0]:
            raise MeasurementSpoilt(f"followers exited with {ends}")
        growth = rss_bytes(pid, peak=True) - idle
        # The queue keeps the output of finished jobs only up to its limit, so the oldest may be gone.
        kept = [job for job, (state,) in zip(jobs, fleet.fields(jobs, "state"), strict=True) if state is not None]
        fleet.check(kept, output_bytes=each)
    name = f"{sizes.flood_mb:,} MB written by {WRITERS} jobs at once, {sizes.followers} of them followed"
    ratio = statistics.median(busy_s) / alone_s
    yield Line(f"{name}: enqueue to result of other jobs", ratio, "times as long as alone", target=RATIO_TARGET)
    yield Line(f"{name}: growth of the worker", growth / 1e6, "MB", target=GROWTH_TARGET)


@contextmanager
def _follow(fleet: Fleet, job_id: str) -> Iterator[subprocess.Popen[bytes]]:
    follower = subprocess.Popen(
        [sys.executable, "-P", "-m", "oneshot_queue", "logs", "-f", job_id],
        env=fleet.environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,  # it reports what was not kept
    )
    try:
        yield follower
    finally:
        follower.kill()
        follower.wait()
