"""Marks the jobs of dead workers lost, and repairs contradictions between a queue's keys."""

from __future__ import annotations

import logging
import random
from dataclasses import dataclass, field
from typing import Final

from oneshot_queue.errors import OneshotQueueError
from oneshot_queue.states import JobState
from oneshot_queue.store import sweep
from oneshot_queue.store.keys import QueueKeys
from oneshot_queue.store.sweep import AUDIT_BATCH, AUDITED, LeaseSeen, NotSwept
from oneshot_queue.workers.ipc.console import describe_jobs
from oneshot_queue.workers.worker.outages import skip_damaged
from oneshot_queue.workers.worker.repeating import repeat
from oneshot_queue.workers.worker.session import Session
from oneshot_queue.workers.worker.state.leases import Lease

logger = logging.getLogger(__name__)

PASSES_PER_LEASE: Final = 6
LONGEST_PERIOD_S: Final = 5.0
MAX_SUSPECTS: Final = 10_000

Suspects = dict[tuple[str, str], float]


@dataclass(slots=True)
class _Watch:
    """What this worker has observed of one queue, and since when, monotonic.

    Attributes:
        leases: The end of each lease, and since when it has not changed.
        suspects: By state, the running jobs without a registered lease, as ``(id, lease)``, and since when.
        found: The suspects that the current scan of the state's index has found.
        offsets: Where the audit of each state's index continues.
        checked_s: When this worker last checked the queue.
        is_swept_elsewhere: Whether another worker is known to sweep this queue.
    """

    leases: dict[str, tuple[str, float]] = field(default_factory=dict)
    suspects: dict[JobState, Suspects] = field(default_factory=lambda: {state: {} for state in AUDITED})
    found: dict[JobState, Suspects] = field(default_factory=lambda: {state: {} for state in AUDITED})
    offsets: dict[JobState, int] = field(default_factory=lambda: dict.fromkeys(AUDITED, 0))
    checked_s: float | None = None
    is_swept_elsewhere: bool = False

    def forget(self) -> None:
        """Discard all observations: after a gap they prove nothing."""
        self.leases.clear()
        for state in AUDITED:
            self.suspects[state], self.found[state] = {}, {}
        self.checked_s = None


class Sweeper:
    """Sweeps the queues of this worker. One worker sweeps a queue at a time; if it vanishes, another takes over.

    A lease is condemned only if its end has not changed for its full length by this worker's own clock, and Redis has
    answered this worker during all that time. So no outage, full memory, clock change or pause of this worker condemns
    a live worker. A running job whose lease is not registered is treated the same way, and so is a lease that another
    worker has condemned: that worker has a full lease length to settle the jobs, and may know more about them.
    """

    def __init__(self, session: Session) -> None:
        self._connection = session.connection
        self._leases = session.leases
        self._clock = session.clock
        self._settings = session.settings
        self._worker = session.identity.name
        self._watches = {lease.keys.queue: _Watch() for lease in session.leases}
        self._period_s = min(session.settings.lease_s / PASSES_PER_LEASE, LONGEST_PERIOD_S)

    def is_in_charge(self, keys: QueueKeys) -> bool:
        """Whether no other worker is known to sweep this queue."""
        return not self._watches[keys.queue].is_swept_elsewhere

    async def run(self) -> None:
        """Sweep until cancelled."""
        await repeat(self.run_once, self._period_s, "sweep")

    async def run_once(self) -> int:
        """Sweep every queue once; returns how many jobs were marked lost or repaired.

        Raises:
            BrokerError: The broker cannot be reached or refuses, for at least one queue. The observations of that
                queue are discarded. The other queues were swept.
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
        if watch.checked_s is not None and asked_s - watch.checked_s > turn_s:
            watch.forget()
        seen = await self._connection.run(sweep.watch(own.keys, own.id, turn_s=turn_s))
        watch.is_swept_elsewhere = seen is None
        if seen is None:
            watch.forget()
            return 0
        # Measure from the reply to a later request: a slow reply must not make a lease look unchanged for longer.
        read_s = self._clock.monotonic()
        watch.checked_s = asked_s
        watch.leases = {each.id: self._since(watch, each, read_s) for each in seen if each.id != own.id}
        count = 0
        for each in seen:
            length_s = each.length_s or self._settings.lease_s
            if each.id in watch.leases and asked_s - watch.leases[each.id][1] >= length_s:
                count += await skip_damaged(self._settle_lease(own.keys, each), otherwise=0)
        return count + await self._audit(own.keys, watch)

    def _since(self, watch: _Watch, seen: LeaseSeen, now: float) -> tuple[str, float]:
        before = watch.leases.get(seen.id)
        return before if before is not None and before[0] == seen.ends else (seen.ends, now)

    async def _settle_lease(self, keys: QueueKeys, lease: LeaseSeen) -> int:
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
                fields = {"queue": keys.queue}
                logger.warning("lease %s expired; marked %s lost", lease.id, describe_jobs(count), extra=fields)
                return count

    async def _audit(self, keys: QueueKeys, watch: _Watch) -> int:
        return sum([await skip_damaged(self._audit_state(keys, watch, state), otherwise=0) for state in AUDITED])

    async def _audit_state(self, keys: QueueKeys, watch: _Watch, state: JobState) -> int:
        asked_s = self._clock.monotonic()
        answer = await self._connection.run(sweep.audit(keys, state, watch.offsets[state]))
        read_s = self._clock.monotonic()
        if answer.repaired:
            logger.warning("repaired %d %s jobs", answer.repaired, state, extra={"queue": keys.queue})
        before, found = watch.suspects[state], watch.found[state]
        for each in answer.suspects[: MAX_SUSPECTS - len(found)]:
            found[each] = before.get(each, read_s)
        if answer.count < AUDIT_BATCH:
            # The scan is complete: a job that it did not find is no longer suspected.
            watch.offsets[state], watch.suspects[state], watch.found[state] = 0, found, {}
        else:
            watch.offsets[state] += AUDIT_BATCH - answer.repaired
        count = answer.repaired
        for job_id, lease_id in answer.suspects:
            if asked_s - before.get((job_id, lease_id), asked_s) >= self._settings.lease_s:
                count += await self._settle_job(keys, job_id, lease_id)
        return count

    async def _settle_job(self, keys: QueueKeys, job_id: str, lease_id: str) -> int:
        error = "its worker is not registered any more"
        spread = random.uniform(0.5, 1.0)
        call = sweep.settle(
            keys, job_id, lease_id, by=self._worker, error=error, spread=spread, settings=self._settings
        )
        is_settled = await self._connection.run(call)
        if is_settled:
            fields = {"job": job_id, "queue": keys.queue, "cause": "worker_lost"}
            logger.warning("marked job %s lost: no worker held it", job_id, extra=fields)
        return int(is_settled)
