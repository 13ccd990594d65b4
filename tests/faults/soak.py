"""Injects random faults for minutes under thousands of jobs of many kinds: ``make soak``.

``SOAK_S`` sets the seconds (default 600), ``SEED`` the seed (default random, and printed) and ``SOAK_FAULTS`` the names
of the faults (default all of ``FAULTS``). It prints the table of invariants, and exits with 1 if one is violated.
"""

from __future__ import annotations

import os
import random
import secrets
import sys
import tempfile
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

import redis

from oneshot_queue import BrokerError, JobState, SyncQueue
from oneshot_queue.client.options import JobOptions
from oneshot_queue.errors import InterruptNotConfirmed, JobNotFound
from tests.faults.collecting import check_invariants, until_ended
from tests.faults.fleet import Fleet
from tests.faults.invariants import Verdict
from tests.faults.result_watcher import ResultWatcher
from tests.support import commands, leftovers
from tests.support.deployment import Deployment
from tests.support.faults import kill_connections, pause_clients
from tests.support.markers import ProcessMarker
from tests.support.servers import ServerProcess, kinds_for
from tests.support.wire import Wire
from tests.support.wire_faults import half_open, latency, resets, stalled

LEAST_JOBS: Final = 2_000
LEAST_FAULTS: Final = 5
MOST_WAITING: Final = 60
JOBS_PER_S: Final = 15
SETTLE_S: Final = 90.0
FAULT_EVERY_S: Final = 0.4

NOISE: Final = b"".join(b"%d\n" % number for number in range(1, 5_001))

LEASE_S: Final = 3.0
KINDS: Final = (
    *("quick", "quick", "sleeping", "leaving", "noisy", "failing", "endless"),
    *("retried", "outliving", "exclusive", "delayed"),
)
OPTIONS: Final[Mapping[str, JobOptions]] = {
    **{kind: JobOptions(grace=1) for kind in KINDS},
    "retried": {"grace": 1, "retries": 4, "retry_delay": 0.1},
    "outliving": {"grace": 1, "retries": 4, "retry_delay": 0.1, "retry_on": ("worker_lost",)},
    "exclusive": {"grace": 1, "exclusive": True},
}
"""Kind of job -> its options."""


@dataclass
class Soak:
    """The state of one soak.

    Attributes:
        accepted: Job -> its kind, for jobs whose enqueue was acknowledged.
        interrupted: Jobs whose interrupt was acknowledged.
        fired: Fault -> how often it affected something.
        total_fired: The total of ``fired``, which the enqueueing thread reads.
    """

    deployment: Deployment
    server: ServerProcess
    fleet: Fleet
    wire: Wire
    rng: random.Random
    marker: ProcessMarker
    over: threading.Event = field(default_factory=threading.Event)
    accepted: dict[str, str] = field(default_factory=dict)
    interrupted: set[str] = field(default_factory=set)
    fired: Counter[str] = field(default_factory=Counter)
    total_fired: int = 0

    def script(self, kind: str) -> str:
        """The shell script of a kind of job."""
        match kind:
            case "quick":
                return "echo token=$ONESHOT_TOKEN"
            case "sleeping":
                return "sleep 0.5"
            case "leaving":
                return f"setsid {self.marker.sleep} > /dev/null 2>&1 & {self.marker.sleep} & exit 0"
            case "noisy":
                return "seq 5000"
            case "failing":
                return "exit 3"
            case "retried":
                return '[ "$ONESHOT_ATTEMPT" -gt 2 ] || exit 3'
            case "outliving" | "exclusive":
                return "setsid sleep 1 & sleep 1"
            case "delayed":
                return ":"
            case "endless":
                return f"setsid {self.marker.sleep} & {self.marker.sleep}"
            case _:
                raise ValueError(kind)

    def produce(self, deadline_s: float, most: int, rng: random.Random) -> None:
        """Enqueue jobs and interrupt the endless ones, until the time is over and enough has happened."""
        settings = replace(self.deployment.settings, url=self.wire.url)
        with SyncQueue(queue=self.deployment.queue_name, settings=settings) as queue:
            while time.monotonic() < deadline_s or not self._has_seen_enough():
                if len(self.accepted) < most and self._waiting(queue) < MOST_WAITING:
                    self._enqueue(queue, rng.choice(KINDS))
                else:
                    self.over.wait(0.02)
                self._interrupt_some(queue, rng)
            for job_id in self._endless():
                self._interrupt(queue, job_id)

    def _has_seen_enough(self) -> bool:
        return len(self.accepted) >= LEAST_JOBS and self.total_fired >= LEAST_FAULTS

    def _waiting(self, queue: SyncQueue) -> int:
        try:
            return len(queue.unfinished())
        except BrokerError:
            return MOST_WAITING

    def _enqueue(self, queue: SyncQueue, kind: str) -> None:
        # Repeat with the same id: an enqueue whose reply was lost may have been executed.
        job_id, argv = f"{kind}-{len(self.accepted)}", self.deployment.witness.command(self.script(kind))
        while job_id not in self.accepted:
            try:
                delay_s = 0.5 if kind == "delayed" else None
                queue.enqueue(argv, id=job_id, delay=delay_s, **OPTIONS[kind])
            except BrokerError:
                continue
            self.accepted[job_id] = kind

    def _endless(self) -> list[str]:
        return [each for each, kind in self.accepted.items() if kind == "endless" and each not in self.interrupted]

    def _interrupt_some(self, queue: SyncQueue, rng: random.Random) -> None:
        endless = self._endless()
        if len(endless) > 4:
            self._interrupt(queue, rng.choice(endless))

    def _interrupt(self, queue: SyncQueue, job_id: str) -> None:
        while job_id not in self.interrupted:
            try:
                queue.interrupt([job_id], confirm=False)
            except (BrokerError, InterruptNotConfirmed):
                continue
            except JobNotFound:
                return  # the checks will report it
            self.interrupted.add(job_id)

    def disturb(self, names: list[str]) -> None:
        """Inject one fault after another until the soak is over, in rounds of all faults in random order."""
        round_: list[str] = []
        while not self.over.wait(self.rng.uniform(0.5, 1.5) * FAULT_EVERY_S):
            round_ = round_ or self.rng.sample(names, len(names))
            name = round_.pop()
            try:
                has_happened = FAULTS[name](self)
            except redis.RedisError:
                continue  # prevented by another fault: it did not happen
            self.fired[name] += bool(has_happened)
            self.total_fired += bool(has_happened)


def _freeze(soak: Soak) -> int:
    frozen_s = soak.rng.uniform(0.1, 2.0)
    with soak.fleet.frozen_worker() as pids:
        soak.over.wait(frozen_s)
    return len(pids)


def _freeze_for_long(soak: Soak) -> int:
    frozen_s = LEASE_S + soak.rng.uniform(1.0, 2.0)
    with soak.fleet.frozen_worker() as pids:
        soak.over.wait(frozen_s)
    return len(pids)


def _freeze_server(soak: Soak) -> bool:
    soak.server.pause()
    soak.over.wait(soak.rng.uniform(0.5, 1.5) * LEASE_S)
    soak.server.resume()
    return True


def _restart_server(soak: Soak) -> bool:
    soak.server.kill()
    soak.server.start()
    soak.deployment.redis.connection_pool.disconnect()
    return True


def _slow(soak: Soak) -> int:
    with soak.wire.impaired(latency(soak.rng.uniform(0.01, 0.3))) as fault:
        soak.over.wait(1.0)
    return fault.fired


def _break_replies(soak: Soak) -> bool:
    with soak.wire.impaired(resets(soak.rng.randrange(20))) as fault:
        return fault.happened.wait(1.0)


def _stall(soak: Soak) -> int:
    with soak.wire.impaired(stalled()) as fault:
        soak.over.wait(soak.rng.uniform(0.1, 1.5))
    return fault.fired


def _half_open(soak: Soak) -> bool:
    number = soak.rng.randrange(3)
    with soak.wire.impaired(half_open(on=lambda connection: connection.number % 3 == number)) as fault:
        return fault.happened.wait(1.0)


def _forget_scripts(soak: Soak) -> int:
    known = int(soak.deployment.redis.info("memory")["number_of_cached_scripts"])
    soak.deployment.redis.script_flush()
    return known


FAULTS: Final[dict[str, Callable[[Soak], int]]] = {
    "kill_worker": lambda soak: soak.fleet.kill_worker(),
    "kill_supervisor": lambda soak: soak.fleet.kill_supervisor(),
    "kill_host": lambda soak: soak.fleet.kill_host(),
    "freeze_worker": _freeze,
    "freeze_worker_past_its_lease": _freeze_for_long,
    "freeze_server": _freeze_server,
    "restart_server": _restart_server,
    "reset_connections": lambda soak: soak.wire.reset(),
    "break_replies": _break_replies,
    "slow_wire": _slow,
    "hold_wire": _stall,
    "half_open_wire": _half_open,
    "kill_clients": lambda soak: kill_connections(soak.deployment.redis),
    "kill_subscribers": lambda soak: kill_connections(soak.deployment.redis, "pubsub"),
    "forget_scripts": _forget_scripts,
    "pause_clients": lambda soak: pause_clients(soak.deployment.redis, 0.3) > 0,
}
"""Name -> injects the fault once; returns whether (or how many times) it affected something."""


def run(soak_s: float, seed: int, names: list[str]) -> tuple[Verdict, Soak]:
    """Run one soak; returns the verdict and the final state."""
    (kind,) = kinds_for(crossed=False)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="oq-soak-")))
        commands.provide_missing(folder)
        # Write everything to disk before replying: with everysec, Redis itself may lose writes when it is killed.
        server = ServerProcess(kind, options=["--appendfsync", "always"])
        stack.callback(server.close)
        server.start()
        unique = uuid.uuid4().hex[:12]
        deployment = Deployment(
            server.url, f"soak-{unique}", "soak", folder, lease_s=LEASE_S, max_finished_jobs=1_000_000
        )
        wire = stack.enter_context(Wire(server.socket_path))
        stack.callback(deployment.close)
        rng, marker = random.Random(seed), ProcessMarker()
        fleet = Fleet(deployment, wire.url, size=3, concurrency=4, rng=rng)
        watcher = stack.enter_context(ResultWatcher(deployment))
        soak = Soak(deployment, server, fleet, wire, rng, marker)
        # Inject faults in this thread: a restarted server dies with the thread that started it.
        producing = stack.enter_context(ThreadPoolExecutor(1)).submit(
            soak.produce,
            time.monotonic() + soak_s,
            max(LEAST_JOBS, round(soak_s * JOBS_PER_S)),
            # A generator of its own: two threads that share one would not be reproducible.
            random.Random(rng.random()),
        )
        producing.add_done_callback(lambda _: soak.over.set())
        soak.disturb(names)
        wire.repair()
        producing.result()
        until_ended(deployment, soak.accepted, limit_s=SETTLE_S)
        completed = {raw.decode() for raw in deployment.redis.zrange(deployment.keys.state(JobState.COMPLETED), 0, -1)}
        noisy = [each for each, kind in soak.accepted.items() if kind == "noisy" and each in completed]
        verdict = check_invariants(
            deployment,
            acknowledged=soak.accepted,
            interrupted=soak.interrupted,
            watcher=watcher,
            expected=dict.fromkeys(noisy[:200], NOISE),
            strays=marker.alive,
            is_prompt=False,
            limit_s=1.0,
        )
        fleet.stop()
        return verdict, soak


def main() -> int:
    """Run the soak that the environment describes, and print the invariants."""
    soak_s = float(os.environ.get("SOAK_S") or 600)
    seed = int(os.environ.get("SEED") or secrets.randbelow(2**32))
    names = (os.environ.get("SOAK_FAULTS") or ",".join(FAULTS)).split(",")
    print(f"soak of {soak_s:g} s, SEED={seed}, faults: {', '.join(names)}", flush=True)
    leftovers.adopt_orphans()
    before = leftovers.children()
    try:
        verdict, soak = run(soak_s, seed, names)
    finally:
        leftovers.assert_none_since(before)
    print(f"{len(soak.accepted)} jobs: {dict(Counter(soak.accepted.values()))}")
    print(f"faults that fired: {dict(soak.fired)}")
    print(verdict.table())
    print("\n".join(verdict.violations[:50]))
    return 1 if verdict.violations or not all(soak.fired[name] for name in names if soak_s >= 60) else 0


if __name__ == "__main__":
    sys.exit(main())
