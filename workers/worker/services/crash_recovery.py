"""Settles the jobs of dead worker processes of this machine, using the journals and spools that they left."""

from __future__ import annotations

import logging
import random
import signal
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any, Final, Protocol

import anyio

from oneshot_queue.errors import BrokerError, MalformedData
from oneshot_queue.outcomes import Cause, Outcome
from oneshot_queue.spec import JobSpec
from oneshot_queue.states import JobState
from oneshot_queue.store import sweep
from oneshot_queue.store.attempts import Holder
from oneshot_queue.store.calls import Call
from oneshot_queue.store.claims import Claim, Claimed, adopt, give_back, reclaim
from oneshot_queue.store.keys import QueueKeys
from oneshot_queue.store.records import UnfinishedAttempt, unfinished_attempt
from oneshot_queue.store.sweep import Swept
from oneshot_queue.store.transport.refusals import is_damage
from oneshot_queue.wire.specs import unpack_spec
from oneshot_queue.workers.ipc.console import describe_jobs
from oneshot_queue.workers.ipc.dead_worker import DeadWorker
from oneshot_queue.workers.ipc.journal_format import JournalLease, JournalSlot
from oneshot_queue.workers.processes.procfs import environment_of, status_of
from oneshot_queue.workers.worker.outages import skip_damaged
from oneshot_queue.workers.worker.repeating import repeat
from oneshot_queue.workers.worker.session import Session
from oneshot_queue.workers.worker.spool import read_spool
from oneshot_queue.workers.worker.state.completions import Completion, delay_before_retry_s
from oneshot_queue.workers.worker.threads import run_blocking

logger = logging.getLogger(__name__)

FIRST_RETRY_S: Final = 0.1
ENVIRONMENT_LIMIT_S: Final = 1.0
MAX_NAMED: Final = 20
"""Most survivors that an error text names."""
DIED: Final = "its worker process died"


class DeadWorkers(Protocol):
    """The dead workers that the supervisor wants recovered."""

    async def receive(self) -> DeadWorker:
        """Wait for the next one."""


class Supervisor(Protocol):
    """Keeps the journal and the spool of a dead worker until its jobs are recorded."""

    def recovered(self, worker_id: str) -> None:
        """Report that all jobs of this dead worker are settled and recorded."""


class CrashRecovery:
    """Recovers dead workers one at a time, and tells the supervisor when each one's jobs are all recorded.

    First it restores claims that Redis may have lost in a crash. Then it settles every job that the dead worker held
    according to Redis: a result in the spool is recorded; an exit status in the journal becomes the result; a job that
    was never started returns to its queue, and that counts towards its limit of returns; other jobs are marked lost.
    """

    def __init__(self, session: Session, dead_workers: DeadWorkers, supervisor: Supervisor) -> None:
        self._connection = session.connection
        self._server_clock = session.server_clock
        self._settings = session.settings
        self._worker = session.identity.name
        self._host = session.identity.host
        self._dead_workers = dead_workers
        self._supervisor = supervisor
        self._current: DeadWorker | None = None

    async def run(self) -> None:
        """Recover until cancelled."""
        await repeat(self.run_once, self._wait_for_dead_worker, "recover a dead worker", retry_s=FIRST_RETRY_S)

    async def _wait_for_dead_worker(self) -> None:
        if self._current is None:
            self._current = await self._dead_workers.receive()

    async def run_once(self) -> int:
        """Recover the dead worker that was received last; returns how many jobs it held.

        Raises:
            BrokerError: The broker cannot be reached or refuses; the next pass tries again.
        """
        dead_worker = self._current
        if dead_worker is None:
            return 0
        count = await self.recover(dead_worker)
        if count:
            logger.warning("worker %s died; settled %s", dead_worker.worker_id, describe_jobs(count))
        self._supervisor.recovered(dead_worker.worker_id)
        self._current = None
        return count

    async def recover(self, dead_worker: DeadWorker) -> int:
        """Settle all jobs of a dead worker; returns how many it held. Idempotent.

        Raises:
            BrokerError: The broker cannot be reached or refuses.
        """
        await self._restore_claims(dead_worker)
        path = dead_worker.spool
        if path is not None:
            for spooled in await run_blocking(lambda: list(read_spool(path, self._keys))):
                ago_s = max(0, self._server_clock.now_ms() - spooled.ended_ms) / 1000
                await self._write(spooled.completion.finish(spooled.completion.ended_s + ago_s, self._settings))
        count = 0
        for lease in dead_worker.leases:
            count += await skip_damaged(self._settle_lease(lease, dead_worker), otherwise=0)
        return count

    async def _restore_claims(self, dead_worker: DeadWorker) -> None:
        """Restore the claims of jobs that may have started: a server that lost them would hand the jobs out again."""
        calls = [
            adopt(
                self._keys(slot.queue),
                slot.job_id,
                Holder(slot.held_as, slot.lease_id, self._worker),
                attempt=slot.attempt,
                host=self._host,
                ago_ms=0,
            )
            for slot in dead_worker.slots
        ]
        for answer in await self._connection.run_many(calls) if calls else ():
            if isinstance(answer, BrokerError) and not is_damage(answer):
                raise answer

    async def _settle_lease(self, lease: JournalLease, dead_worker: DeadWorker) -> int:
        keys = self._keys(lease.queue)
        # Do this first: a claim of the dead worker that arrives late must find its lease lost.
        await self._connection.run_many([sweep.condemn(keys, lease.lease_id)])
        slots = {slot.held_as: slot for slot in dead_worker.slots}
        # A job that was just handed over again may still be in the journal under its former token.
        begun = {slot.job_id for slot in dead_worker.slots if slot.queue == lease.queue}
        environments = await _environments_of(dead_worker.survivors)
        known: list[str] = []
        while claims := await self._claimed(keys, lease, known):
            for claim in claims:
                known.append(claim.token)
                has_not_begun = dead_worker.is_complete and claim.job_id not in begun
                slot = slots.get(claim.token)
                survivors = () if slot is None else _survivors_of(slot, environments)
                await self._settle_job(keys, lease, claim, slot, survivors, has_not_begun=has_not_begun)
        while True:
            swept = await self._connection.run(
                sweep.sweep(
                    keys,
                    lease.lease_id,
                    seen=None,
                    by=self._worker,
                    error=DIED,
                    spread=random.uniform(0.5, 1.0),
                    is_confirmed=all(environments.values()),
                    settings=self._settings,
                )
            )
            if not isinstance(swept, Swept) or swept.is_done:
                return len(known)

    async def _claimed(self, keys: QueueKeys, lease: JournalLease, known: Sequence[str]) -> Sequence[Claim]:
        answer = await self._connection.run(reclaim(keys, lease=lease.lease_id, known=known))
        return answer.claims if isinstance(answer, Claimed) else ()

    async def _settle_job(
        self,
        keys: QueueKeys,
        lease: JournalLease,
        claim: Claim,
        slot: JournalSlot | None,
        survivors: tuple[int, ...],
        *,
        has_not_begun: bool,
    ) -> None:
        """Settle a job that never started or whose result is known; the sweep marks the other jobs lost."""
        holder = Holder(claim.token, lease.lease_id, self._worker)
        if has_not_begun:
            await self._write(
                give_back(keys, claim.job_id, holder, why="unstarted", is_counted=True, settings=self._settings)
            )
        elif slot is not None and (outcome := _outcome(claim, slot, survivors)) is not None:
            await skip_damaged(self._finish(keys, claim, holder, outcome), otherwise=None)

    async def _finish(self, keys: QueueKeys, claim: Claim, holder: Holder, outcome: Outcome) -> None:
        unfinished = await self._connection.run(unfinished_attempt(keys, claim.job_id))
        if unfinished.is_interrupted and outcome.survivors:
            outcome = replace(outcome, state=JobState.INTERRUPTED, cause=Cause.INTERRUPTED)
        if not unfinished.is_interrupted or outcome.survivors:
            completion = _completion_of(keys, claim, holder, outcome, unfinished)
            await self._connection.run(completion.finish(0.0, self._settings))

    async def _write(self, call: Call[Any]) -> None:
        await skip_damaged(self._connection.run(call), otherwise=None)

    def _keys(self, queue: str) -> QueueKeys:
        return QueueKeys(self._settings.namespace, queue)


async def _environments_of(survivors: Sequence[int]) -> dict[int, bytes]:
    """Return the survivors that are still alive, each with its environment; empty if that cannot be read."""
    living = [pid for pid in survivors if (status := status_of(pid)) is not None and not status.is_zombie]
    found = dict.fromkeys(living, b"")
    # A process that hangs in the kernel may lock its memory, and then reading its environment hangs too.
    with anyio.move_on_after(ENVIRONMENT_LIMIT_S), suppress(OSError, RuntimeError):
        for pid in living:
            raw = await anyio.to_thread.run_sync(environment_of, pid, abandon_on_cancel=True)
            found[pid] = raw.strip(b"\0")
    return found


def _survivors_of(slot: JournalSlot, environments: Mapping[int, bytes]) -> tuple[int, ...]:
    """The survivors that belong to the job, and those whose job is unknown."""
    return tuple(pid for pid, raw in environments.items() if not raw or slot.token.encode() in raw)


def _outcome(claim: Claim, slot: JournalSlot, survivors: tuple[int, ...]) -> Outcome | None:
    """Return the outcome of an attempt; ``None`` if only the death of its worker is known."""
    lost = Outcome(JobState.FAILED, Cause.WORKER_LOST, attempt=claim.attempt, survivors=survivors)
    if survivors:
        named = ", ".join(map(str, survivors[:MAX_NAMED])) + (", …" if len(survivors) > MAX_NAMED else "")
        return replace(lost, error=f"{DIED}, and SIGKILL did not end {named}")
    code = slot.exit_code
    # The worker or the supervisor may have sent SIGKILL, so it says nothing about the command itself.
    spec = None if code in (None, -signal.SIGKILL) or slot.is_fenced else _spec_of(claim)
    if code is None or spec is None:
        return None
    error = f"{DIED} before its result was recorded; the end of its output may be missing"
    if code in spec.success_codes:
        return Outcome(JobState.COMPLETED, Cause.EXIT, exit_code=code, attempt=claim.attempt, error=error)
    if code < 0:
        return Outcome(JobState.FAILED, Cause.SIGNAL, signal=-code, attempt=claim.attempt, error=error)
    return Outcome(JobState.FAILED, Cause.EXIT, exit_code=code, attempt=claim.attempt, error=error)


def _spec_of(claim: Claim) -> JobSpec | None:
    try:
        return unpack_spec(claim.spec, claim.stdin)
    except MalformedData:
        return None


def _completion_of(
    keys: QueueKeys, claim: Claim, holder: Holder, outcome: Outcome, unfinished: UnfinishedAttempt
) -> Completion:
    return Completion(
        keys,
        claim.job_id,
        claim.attempt,
        holder,
        outcome,
        ended_s=0.0,
        started_s=None,
        inline=(),
        kept=unfinished.kept,
        fields={},
        retry_after_s=delay_before_retry_s(_spec_of(claim), outcome),
    )
