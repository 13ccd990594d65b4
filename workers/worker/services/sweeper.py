"""Decides the jobs of workers that are gone."""

from __future__ import annotations

import logging
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import anyio

from oneshot_queue.clock import Clock
from oneshot_queue.errors import OneshotQueueError
from oneshot_queue.settings import Settings
from oneshot_queue.states import JobState
from oneshot_queue.store import sweep
from oneshot_queue.store.keys import QueueKeys
from oneshot_queue.store.sweep import AUDIT_BATCH, AUDITED, LeaseSeen, NotSwept
from oneshot_queue.store.transport.connection import AsyncConnection
from oneshot_queue.workers.ipc.console import describe_jobs
from oneshot_queue.workers.worker.outages import level_of, skip_damaged
from oneshot_queue.workers.worker.state.leases import Lease

logger = logging.getLogger(__name__)

PASSES_PER_LEASE: Final = 6
LONGEST_PERIOD_S: Final = 5.0
MAX_SUSPECTS: Final = 10_000

Suspects = dict[tuple[str, str], float]


@dataclass(slots=True)
class _Watch:
    """What this worker has seen of one queue, and since when, monotonic.

    Attributes:
        leases: The end of each lease, and since when it has not moved.
        suspects: Running jobs of each state without a registered lease, as ``(id, lease)``, and since when.
        found: Those of them that the present walk through the state's index came across.
        offsets: Where the audit of each state's index goes on.
        looked_s: When this worker last looked.
        is_others: Whether another worker sweeps this queue, as far as is known.
    """

    leases: dict[str, tuple[str, float]] = field(default_factory=dict)
    suspects: dict[JobState, Suspects] = field(default_factory=lambda: {state: {} for state in AUDITED})
    found: dict[JobState, Suspects] = field(default_factory=lambda: {state: {} for state in AUDITED})
    offsets: dict[JobState, int] = field(default_factory=lambda: dict.fromkeys(AUDITED, 0))
    looked_s: float | None = None
    is_others: bool = False

    def forget(self) -> None:
        """Begin anew: what was seen before proves nothing any more."""
        self.leases.clear()
        for state in AUDITED:
            self.suspects[state], self.found[state] = {}, {}
        self.looked_s = None


class Sweeper:
    """One worker sweeps a queue at a time; if it vanishes, another takes over.

    A lease is condemned only after its end has not moved for its whole length by this worker's own clock, while this
    worker saw Redis answer all the time: so neither an outage, nor a full memory, nor a clock that jumps, nor a pause
    of this worker itself condemns anybody. The same holds for a running job whose lease nobody has registered, and for
    a lease that somebody else has condemned: whoever did has that long to decide its jobs, and may know more of them.

    Args:
        worker: This worker's name, for the history.
    """

    def __init__(
        self, *, connection: AsyncConnection, leases: Sequence[Lease], clock: Clock, settings: Settings, worker: str
    ) -> None:
        self._connection = connection
        self._leases = leases
        self._clock = clock
        self._settings = settings
        self._worker = worker
        self._watches = {lease.keys.queue: _Watch() for lease in leases}
        self._period_s = min(settings.lease_s / PASSES_PER_LEASE, LONGEST_PERIOD_S)

    def is_in_charge(self, keys: QueueKeys) -> bool:
        """Whether no other worker is known to sweep this queue."""
        return not self._watches[keys.queue].is_others

    async def run(self) -> None:
        """Sweep for ever."""
        failures = 0
        while True:
            await anyio.sleep(self._period_s)
            try:
                await self.run_once()
                failures = 0
            except OneshotQueueError as problem:
                failures += 1
                logger.log(level_of(problem, failures), "cannot sweep: %s", problem)

    async def run_once(self) -> int:
        """Look at every queue once; returns how many jobs were decided or mended.

        Raises:
            BrokerError: The broker is out of reach or refuses, for one queue at least; whatever was seen of that queue
                so far proves nothing any more. The others were looked at.
        """
        count = 0
        refusal: OneshotQueueError | None = None
        for lease in self._leases:
            watch = self._watches[lease.keys.queue]
            try:
                count += await self._sweep(lease, watch)
            except OneshotQueueError as problem:
                watch.forget()
                refusal = refusal or problem
        if refusal is not None:
            raise refusal
        return count

    async def _sweep(self, own: Lease, watch: _Watch) -> int:
        turn_s = 3 * self._period_s
        asked_s = self._clock.monotonic()
        if watch.looked_s is not None and asked_s - watch.looked_s > turn_s:
            watch.forget()
        seen = await self._connection.run(sweep.watch(own.keys, own.id, turn_s=turn_s))
        watch.is_others = seen is None
        if seen is None:
            watch.forget()
            return 0
        # What is new was read before now, what is old was still so when we asked: neither makes a wait look longer.
        read_s = self._clock.monotonic()
        watch.looked_s = asked_s
        watch.leases = {each.id: self._since(watch, each, read_s) for each in seen if each.id != own.id}
        count = 0
        for each in seen:
            length_s = each.length_s or self._settings.lease_s
            if each.id in watch.leases and asked_s - watch.leases[each.id][1] >= length_s:
                count += await skip_damaged(self._decide_all(own.keys, each), otherwise=0)
        return count + await self._audit(own.keys, watch)

    def _since(self, watch: _Watch, seen: LeaseSeen, now: float) -> tuple[str, float]:
        before = watch.leases.get(seen.id)
        return before if before is not None and before[0] == seen.ends else (seen.ends, now)

    async def _decide_all(self, keys: QueueKeys, lease: LeaseSeen) -> int:
        silent_s = lease.length_s or self._settings.lease_s
        count = 0
        while True:
            answer = await self._connection.run(
                sweep.sweep(
                    keys,
                    lease.id,
                    seen=lease.ends,
                    by=self._worker,
                    error=f"its worker gave no sign of life for {silent_s:g} s",
                    spread=random.uniform(0.5, 1.0),
                    is_confirmed=False,
                    settings=self._settings,
                )
            )
            if isinstance(answer, NotSwept):
                return count
            count += answer.settled
            if answer.is_done:
                decided = describe_jobs(count)
                logger.warning("queue %s: lease %s is over; decided %s", keys.queue, lease.id, decided)
                return count

    async def _audit(self, keys: QueueKeys, watch: _Watch) -> int:
        return sum([await skip_damaged(self._audit_state(keys, watch, state), otherwise=0) for state in AUDITED])

    async def _audit_state(self, keys: QueueKeys, watch: _Watch, state: JobState) -> int:
        asked_s = self._clock.monotonic()
        answer = await self._connection.run(sweep.audit(keys, state, watch.offsets[state]))
        read_s = self._clock.monotonic()
        if answer.repaired:
            logger.warning("queue %s: mended %d of its %s jobs", keys.queue, answer.repaired, state)
        before, found = watch.suspects[state], watch.found[state]
        for each in answer.suspects[: MAX_SUSPECTS - len(found)]:
            found[each] = before.get(each, read_s)
        if answer.count < AUDIT_BATCH:
            # The walk is over: whoever it did not come across is none any more, or begins anew.
            watch.offsets[state], watch.suspects[state], watch.found[state] = 0, found, {}
        else:
            watch.offsets[state] += AUDIT_BATCH - answer.repaired
        count = answer.repaired
        for job_id, lease_id in answer.suspects:
            if asked_s - before.get((job_id, lease_id), asked_s) >= self._settings.lease_s:
                count += await self._decide(keys, job_id, lease_id)
        return count

    async def _decide(self, keys: QueueKeys, job_id: str, lease_id: str) -> int:
        error = "its worker is not registered any more"
        spread = random.uniform(0.5, 1.0)
        call = sweep.settle(
            keys, job_id, lease_id, by=self._worker, error=error, spread=spread, settings=self._settings
        )
        is_decided = await self._connection.run(call)
        if is_decided:
            logger.warning("queue %s: decided job %s, which nobody held", keys.queue, job_id)
        return int(is_decided)
