"""Decides about the jobs of worker processes of this machine that died, with all that is known of them."""

from __future__ import annotations

import logging
import random
import signal
import socket
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any, Final

import anyio

from oneshot_queue.backoff import retry_delay
from oneshot_queue.errors import BrokerError, MalformedData, OneshotQueueError
from oneshot_queue.outcomes import Cause, Outcome
from oneshot_queue.settings import Settings
from oneshot_queue.spec import JobSpec
from oneshot_queue.states import JobState
from oneshot_queue.store import sweep
from oneshot_queue.store.attempts import Holder
from oneshot_queue.store.calls import Call
from oneshot_queue.store.claims import Claim, Claimed, adopt, give_back, reclaim
from oneshot_queue.store.keys import QueueKeys
from oneshot_queue.store.records import Remains, remains_of
from oneshot_queue.store.sweep import Swept
from oneshot_queue.store.transport.connection import AsyncConnection
from oneshot_queue.store.transport.refusals import is_damage
from oneshot_queue.wire.specs import unpack_spec
from oneshot_queue.workers.ipc.console import describe_jobs
from oneshot_queue.workers.ipc.dead_worker import DeadWorker
from oneshot_queue.workers.ipc.journal_format import JournalLease, JournalSlot
from oneshot_queue.workers.processes.procfs import environment_of, status_of
from oneshot_queue.workers.worker.outages import level_of, skip_damaged
from oneshot_queue.workers.worker.spool import read_spool
from oneshot_queue.workers.worker.state.completions import Completion
from oneshot_queue.workers.worker.state.server_clock import ServerClock
from oneshot_queue.workers.worker.threads import run_blocking

logger = logging.getLogger(__name__)

MAX_DEAD_WORKERS: Final = 1_000
LOOK_S: Final = 1.0
MAX_NAMED: Final = 20
"""Survivors that a person is told of."""
DIED: Final = "its worker process died"


class CrashRecovery:
    """Takes on estates, one after the other, and says of each when all of it is on record.

    Redis is reminded of what it may have forgotten in a crash. Then, for every job that it believes a dead worker held:
    an end that lies in its spool is written; an exit status that the worker saw is its end; what was never started goes
    back to the queue, counted; the rest was lost with the worker.

    Args:
        worker: This worker's name, for the history.
        decided: Told the id of the dead worker when nothing of its estate is left to decide.
    """

    def __init__(
        self,
        *,
        connection: AsyncConnection,
        server_clock: ServerClock,
        settings: Settings,
        worker: str,
        decided: Callable[[str], None],
    ) -> None:
        self._connection = connection
        self._server_clock = server_clock
        self._settings = settings
        self._worker = worker
        self._decided = decided
        self._given, self._estates = anyio.create_memory_object_stream[DeadWorker](MAX_DEAD_WORKERS)

    def take(self, dead_worker: DeadWorker) -> bool:
        """Take on an estate; one too many is not taken, and waits with the supervisor."""
        try:
            self._given.send_nowait(dead_worker)
        except anyio.WouldBlock:
            logger.error("too many estates; that of worker %s waits", dead_worker.worker_id)
            return False
        return True

    async def run(self) -> None:
        """Decide for ever."""
        async for dead_worker in self._estates:
            await self._settle(dead_worker)

    async def _settle(self, dead_worker: DeadWorker) -> None:
        failures = 0
        while True:
            try:
                count = await self.decide(dead_worker)
            except OneshotQueueError as problem:
                failures += 1
                level = level_of(problem, failures)
                logger.log(level, "cannot decide the jobs of worker %s: %s", dead_worker.worker_id, problem)
                await anyio.sleep(retry_delay(failures, base_s=0.1, cap_s=2.0, spread=random.uniform(0.5, 1.0)))
                continue
            if count:
                logger.warning("decided %s of worker %s, which died", describe_jobs(count), dead_worker.worker_id)
            self._decided(dead_worker.worker_id)
            return

    async def decide(self, dead_worker: DeadWorker) -> int:
        """Decide one estate; returns how many jobs were held. Repeated, it changes nothing more.

        Raises:
            BrokerError: The broker is out of reach or refuses.
        """
        await self._remind(dead_worker)
        path = dead_worker.spool
        if path is not None:
            for spooled in await run_blocking(lambda: list(read_spool(path, self._keys))):
                ago_s = max(0, self._server_clock.now_ms() - spooled.ended_ms) / 1000
                await self._write(spooled.completion.finish(spooled.completion.ended_s + ago_s, self._settings))
        count = 0
        for note in dead_worker.leases:
            count += await skip_damaged(self._decide_lease(note, dead_worker), otherwise=0)
        return count

    async def _remind(self, dead_worker: DeadWorker) -> None:
        """Tell of all that may have been started, a server that forgot it would hand it out once more."""
        host = socket.gethostname()
        calls = [
            adopt(
                self._keys(slot.queue),
                slot.job_id,
                Holder(slot.held_as, slot.lease_id, self._worker),
                attempt=slot.attempt,
                host=host,
                ago_ms=0,
            )
            for slot in dead_worker.slots
        ]
        for answer in await self._connection.run_many(calls) if calls else ():
            if isinstance(answer, BrokerError) and not is_damage(answer):
                raise answer

    async def _decide_lease(self, note: JournalLease, dead_worker: DeadWorker) -> int:
        keys = self._keys(note.queue)
        # First of all: a claim of the dead worker that still is on its way must find its lease lost.
        await self._connection.run_many([sweep.condemn(keys, note.lease_id)])
        slots = {slot.held_as: slot for slot in dead_worker.slots}
        # One that was just being handed over once more may still be noted under its former token.
        begun = {slot.job_id for slot in dead_worker.slots if slot.queue == note.queue}
        environments = await _environments_of(dead_worker.survivors)
        known: list[str] = []
        while claims := await self._claimed(keys, note, known):
            for claim in claims:
                known.append(claim.token)
                has_not_begun = dead_worker.is_complete and claim.job_id not in begun
                slot = slots.get(claim.token)
                survivors = () if slot is None else _survivors_of(slot, environments)
                await self._decide_job(keys, note, claim, slot, survivors, has_not_begun=has_not_begun)
        while True:
            swept = await self._connection.run(
                sweep.sweep(
                    keys,
                    note.lease_id,
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

    async def _claimed(self, keys: QueueKeys, note: JournalLease, known: Sequence[str]) -> Sequence[Claim]:
        answer = await self._connection.run(reclaim(keys, lease=note.lease_id, known=known))
        return answer.claims if isinstance(answer, Claimed) else ()

    async def _decide_job(
        self,
        keys: QueueKeys,
        note: JournalLease,
        claim: Claim,
        slot: JournalSlot | None,
        survivors: tuple[int, ...],
        *,
        has_not_begun: bool,
    ) -> None:
        """Decide a job of which more is known than that its worker died; the others are left to the sweep."""
        holder = Holder(claim.token, note.lease_id, self._worker)
        if has_not_begun:
            await self._write(
                give_back(keys, claim.job_id, holder, why="unstarted", is_counted=True, settings=self._settings)
            )
        elif slot is not None and (outcome := _outcome(claim, slot, survivors)) is not None:
            await skip_damaged(self._finish(keys, claim, holder, outcome), otherwise=None)

    async def _finish(self, keys: QueueKeys, claim: Claim, holder: Holder, outcome: Outcome) -> None:
        remains = await self._connection.run(remains_of(keys, claim.job_id))
        if remains.is_interrupted and outcome.survivors:
            outcome = replace(outcome, state=JobState.INTERRUPTED, cause=Cause.INTERRUPTED)
        if not remains.is_interrupted or outcome.survivors:
            completion = _ending_of(keys, claim, holder, outcome, remains)
            await self._connection.run(completion.finish(0.0, self._settings))

    async def _write(self, call: Call[Any]) -> None:
        await skip_damaged(self._connection.run(call), otherwise=None)

    def _keys(self, queue: str) -> QueueKeys:
        return QueueKeys(self._settings.namespace, queue)


async def _environments_of(survivors: Sequence[int]) -> dict[int, bytes]:
    """What SIGKILL did not end and still lives, each with its environment; with nothing where that cannot be read."""
    living = [pid for pid in survivors if (status := status_of(pid)) is not None and not status.is_zombie]
    found = dict.fromkeys(living, b"")
    # Whoever hangs in the kernel may keep its memory locked, and whoever reads there hangs too.
    with anyio.move_on_after(LOOK_S), suppress(OSError, RuntimeError):
        for pid in living:
            raw = await anyio.to_thread.run_sync(environment_of, pid, abandon_on_cancel=True)
            found[pid] = raw.strip(b"\0")
    return found


def _survivors_of(slot: JournalSlot, environments: Mapping[int, bytes]) -> tuple[int, ...]:
    """Those that are the job's, and those of which nobody knows whose they are."""
    return tuple(pid for pid, raw in environments.items() if not raw or slot.token.encode() in raw)


def _outcome(claim: Claim, slot: JournalSlot, survivors: tuple[int, ...]) -> Outcome | None:
    """How an attempt ended of which more is known than that its worker died; ``None`` if nothing is."""
    lost = Outcome(JobState.FAILED, Cause.WORKER_LOST, attempt=claim.attempt, survivors=survivors)
    if survivors:
        named = ", ".join(map(str, survivors[:MAX_NAMED])) + (", …" if len(survivors) > MAX_NAMED else "")
        return replace(lost, error=f"{DIED}, and SIGKILL did not end {named}")
    code = slot.exit_code
    # SIGKILL is how a worker ends what does not end by itself: it says nothing of the command.
    spec = None if code in (None, -signal.SIGKILL) or slot.is_fenced else _spec_of(claim)
    if code is None or spec is None:
        return None
    error = f"{DIED} before its end was on record; the end of its output may be missing"
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


def _ending_of(keys: QueueKeys, claim: Claim, holder: Holder, outcome: Outcome, remains: Remains) -> Completion:
    spec = _spec_of(claim)
    retry_after_s = None
    if spec is not None and spec.begins_again(outcome):
        spread = random.uniform(0.5, 1.0)
        retry_after_s = retry_delay(claim.attempt, base_s=spec.retry_delay, cap_s=spec.retry_max_delay, spread=spread)
    return Completion(
        keys,
        claim.job_id,
        claim.attempt,
        holder,
        outcome,
        ended_s=0.0,
        started_s=None,
        inline=(),
        kept=remains.kept,
        fields={},
        retry_after_s=retry_after_s,
    )
