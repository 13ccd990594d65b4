"""Records what happens to held jobs: silence, activity, and the result."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any, Final, Protocol, assert_never

import anyio

from oneshot_queue.errors import BrokerError
from oneshot_queue.store import attempts
from oneshot_queue.store.attempts import Fenced, Holder, Recorded
from oneshot_queue.store.calls import Call, Word
from oneshot_queue.store.claims import Returned
from oneshot_queue.store.keys import QueueKeys
from oneshot_queue.store.transport.refusals import is_damage
from oneshot_queue.wire.chunks import Chunk
from oneshot_queue.workers.engine.crash_points import crash_at
from oneshot_queue.workers.worker.repeating import repeat
from oneshot_queue.workers.worker.session import Session
from oneshot_queue.workers.worker.spooler import Spooler
from oneshot_queue.workers.worker.state.batch_window import BatchWindow
from oneshot_queue.workers.worker.state.completions import Completion, Requeue, delay_before_retry_s
from oneshot_queue.workers.worker.state.held_jobs import (
    FENCED,
    Change,
    Ended,
    GoingBack,
    HeldJob,
    HeldJobs,
    Running,
    Waiting,
    log_fields,
)
from oneshot_queue.workers.worker.state.held_jobs import (
    Fenced as FencedPhase,
)

logger = logging.getLogger(__name__)

MAX_CHANGES: Final = 50
"""Most unrecorded changes kept for one job; the oldest pair of silence and activity is dropped first."""

MAX_BATCH: Final = 200

RECENT_S: Final = 60.0
MAX_RECENT: Final = 5_000

FACT_DELAY_S: Final = 0.02
"""A fact waits for the result of its job at least this long, and at most twice as long."""

REPAIR_S: Final = 2.0
"""Time between two attempts to record a result that a damaged key blocks; a person has to repair the key."""

FIRST_RETRY_S: Final = 0.05


class Control(Protocol):
    """Ends jobs."""

    def fence(self, held: HeldJob, why: str) -> None:
        """Kill the processes of a job that this worker no longer holds, and record nothing about it."""


@dataclass(slots=True)
class _Plan:
    """What to send for one job.

    Attributes:
        holder: The holder that the calls name.
        covers: Sequence number of the last change in the calls.
        ends: Whether the calls include the job's result or its return to the queue.
    """

    held: HeldJob
    holder: Holder
    calls: list[Call[Any]] = field(default_factory=list)
    covers: int = 0
    ends: bool = False


class Recorder:
    """Records changes and results in groups: all that become due while one pipeline is in flight form the next one.

    Every change carries its number within the attempt, and every result its token, so a pipeline whose reply was lost
    can be sent again. A job's result waits until its output has been sent. Results that the broker cannot accept now
    are spooled to disk.
    """

    def __init__(
        self, session: Session, held_jobs: HeldJobs, *, control: Control, spooler: Spooler, window: BatchWindow
    ) -> None:
        self._connection = session.connection
        self._clock = session.clock
        self._settings = session.settings
        self._held_jobs = held_jobs
        self._control = control
        self._spooler = spooler
        self._window = window
        self._due: dict[HeldJob, None] = {}
        self._recent: deque[tuple[float, Completion | Requeue]] = deque(maxlen=MAX_RECENT)
        self._blocked: set[HeldJob] = set()
        self._new_facts: list[HeldJob] = []
        self._old_facts: list[HeldJob] = []
        self._fact_timer: asyncio.TimerHandle | None = None
        self._wanted = anyio.Event()

    def add_change(self, held: HeldJob, event: str | None = None) -> None:
        """Add a change of a job: an event of the state machine, or (``None``) a mere fact such as the process id."""
        held.sequence += 1
        held.changes.append(Change(held.sequence, event, self._clock.monotonic()))
        if len(held.changes) > MAX_CHANGES:
            # Not the first, which may be a fact. Drop a pair, so that silence and activity still alternate.
            del held.changes[1:3]
        if event is None:
            # Let a fact wait a little: for a short job, it is then sent with the result.
            self._new_facts.append(held)
            if self._fact_timer is None:
                self._set_fact_timer()
        else:
            self.schedule(held)

    def _set_fact_timer(self) -> None:
        self._fact_timer = asyncio.get_running_loop().call_later(FACT_DELAY_S, self._schedule_facts)

    def _schedule_facts(self) -> None:
        # One timer serves all facts; a fact that was added while it ran waits for the next one.
        for held in self._old_facts:
            if held.changes:
                self.schedule(held)
        self._old_facts, self._new_facts, self._fact_timer = self._new_facts, [], None
        if self._old_facts:
            self._set_fact_timer()

    def schedule(self, held: HeldJob) -> None:
        """Check soon what has to be recorded about this job."""
        self._due[held] = None
        self._wanted.set()

    async def run(self) -> None:
        """Record until cancelled, also after outages of the broker."""
        await repeat(
            self.run_once, self._wait_for_work, "record", retry_s=FIRST_RETRY_S, after_failure=self.spool_results
        )

    async def _wait_for_work(self) -> None:
        if self._blocked:
            await self.spool_results()
        await self._spooler.release(self._held_jobs)
        if not self._due:
            self._wanted = anyio.Event()
            await self._wanted.wait()
        await self._window.wait()

    async def spool_results(self) -> None:
        """Spool all unrecorded results, including those that wait for their output to be sent."""
        await self._spooler.keep(
            (held, held.phase.completion or self._completion(held, held.phase, held.output.take_inline() or []))
            for held in self._held_jobs
            if isinstance(held.phase, Ended)
        )

    async def run_once(self) -> int:
        """Send what is due in one pipeline; returns for how many jobs.

        Raises:
            BrokerError: The broker cannot be reached or refuses; the next pass sends what is not confirmed.
        """
        due = list(self._due)[:MAX_BATCH]
        for held in due:
            del self._due[held]
        # The reasserter schedules unsettled jobs again once they are settled.
        plans = [self._plan(held) for held in due if not held.is_unsettled]
        calls = [call for plan in plans for call in plan.calls]
        has_end = any(plan.ends for plan in plans)
        if has_end:
            crash_at("before_finish")
        try:
            answers = await self._connection.run_many(calls) if calls else []
        except BaseException:
            self._due |= dict.fromkeys(plan.held for plan in plans)
            raise
        if has_end:
            crash_at("after_finish")
        refusal: BrokerError | None = None
        for plan in plans:
            mine, answers = answers[: len(plan.calls)], answers[len(plan.calls) :]
            refusal = self._settle(plan, mine) or refusal
        if refusal is not None:
            raise refusal
        return len(plans)

    def _plan(self, held: HeldJob) -> _Plan:
        plan = _Plan(held, held.holder)
        phase = held.phase
        match phase:
            case Running() | Waiting():
                for change in held.changes:
                    plan.covers = change.sequence
                    plan.calls.append(self._record(held, change))
            case Ended() | GoingBack():
                for change in held.changes:
                    plan.covers = change.sequence
                    # A short job's process id is sent with its result, not in a separate call.
                    if change.event is not None:
                        plan.calls.append(self._record(held, change))
                self._plan_end(plan, phase)
            case FencedPhase():
                pass
            case _:
                assert_never(phase)
        return plan

    def _plan_end(self, plan: _Plan, phase: Ended | GoingBack) -> None:
        held = plan.held
        if held.output.in_flight is not None:
            return
        inline = held.output.take_inline()
        if inline is None and held.output.is_waiting:
            return
        plan.ends = True
        match phase:
            case GoingBack(why):
                plan.calls.append(Requeue(held.keys, held.job_id, held.holder, why).give_back(self._settings))
            case Ended():
                phase.completion = phase.completion or self._completion(held, phase, inline or [])
                completion = _with_holder(held.holder, phase.completion)
                plan.calls.append(completion.finish(self._clock.monotonic(), self._settings))
            case _:
                assert_never(phase)

    def _record(self, held: HeldJob, change: Change) -> Call[Any]:
        process = held.process
        return attempts.record(
            held.keys,
            held.job_id,
            held.holder,
            sequence=change.sequence,
            event=change.event,
            ago_ms=self._ago_ms(change.at_s),
            fields={} if process is None else {"pid": process.pid},
        )

    def _completion(self, held: HeldJob, ended: Ended, inline: list[Chunk]) -> Completion:
        process = ended.process
        fields: dict[str, Word] = {} if process is None else {"pid": process.pid}
        if held.output.total:
            fields["bytes"] = held.output.total
        if held.output.dropped:
            fields["dropped"] = held.output.dropped
        if inline:
            fields["last_output"] = inline[-1].at_ms
        return Completion(
            held.keys,
            held.job_id,
            held.attempt,
            held.holder,
            ended.outcome,
            ended_s=ended.ended_s,
            started_s=None if process is None else process.started_s,
            inline=tuple(inline),
            kept=held.output.kept,
            fields=fields,
            retry_after_s=_retry_after_s(held, ended),
        )

    def _settle(self, plan: _Plan, answers: list[Any]) -> BrokerError | None:
        """Act on the answers for one job; returns the error if it has to be sent again."""
        held = plan.held
        if held.phase is FENCED:
            held.changes.clear()
            return None
        for answer in answers:
            match answer:
                case Recorded() | Returned():
                    continue
                case Fenced() if plan.holder != held.holder or held.is_unsettled:
                    # It was handed over again meanwhile, or the server does not know yet that this worker holds it.
                    self.schedule(held)
                    return None
                case Fenced():
                    self._control.fence(held, "this worker no longer holds it")
                    return None
                case BrokerError() if not is_damage(answer):
                    self.schedule(held)
                    return answer
                case BrokerError() if plan.ends and answer is answers[-1]:
                    self._wait_for_repair(held, answer)
                    return None
                case _:
                    # Repeating would not help: the job's record contradicts this change. Its result still counts.
                    logger.error("Redis rejected a state change: %s", answer, extra=log_fields(held))
        held.changes = [each for each in held.changes if each.sequence > plan.covers]
        if plan.ends:
            self._release(plan)
        elif held.changes:
            self.schedule(held)
        return None

    def _release(self, plan: _Plan) -> None:
        held = plan.held
        if held.is_damaged:
            logger.warning("its result has now been recorded", extra=log_fields(held))
        match held.phase:
            case Ended(completion=Completion() as completion):
                self._remember(_with_holder(plan.holder, completion))
            case GoingBack(why):
                self._remember(Requeue(held.keys, held.job_id, plan.holder, why))
            case _:
                pass
        self._due.pop(held, None)
        self._held_jobs.remove(held)

    def _wait_for_repair(self, held: HeldJob, problem: BrokerError) -> None:
        if not held.is_damaged:
            self._held_jobs.mark_damaged(held)
            logger.error(
                "its result cannot be recorded, retrying every %g s: %s",
                REPAIR_S,
                problem,
                extra=log_fields(held),
            )
        if held not in self._blocked:
            self._blocked.add(held)
            asyncio.get_running_loop().call_later(REPAIR_S, self._try_again, held)

    def _try_again(self, held: HeldJob) -> None:
        self._blocked.discard(held)
        self.schedule(held)

    def recent(self, keys: QueueKeys) -> Iterable[Completion | Requeue]:
        """Return what was recorded about a queue's jobs in the last minute: a server that crashes may lose it."""
        since_s = self._clock.monotonic() - RECENT_S
        return [completion for at_s, completion in self._recent if at_s >= since_s and completion.keys == keys]

    def _remember(self, completion: Completion | Requeue) -> None:
        now = self._clock.monotonic()
        self._recent.append((now, completion))
        while self._recent[0][0] < now - RECENT_S:
            self._recent.popleft()

    def _ago_ms(self, at_s: float) -> int:
        return max(0, round((self._clock.monotonic() - at_s) * 1000))


def _with_holder(holder: Holder, completion: Completion) -> Completion:
    return completion if completion.holder == holder else replace(completion, holder=holder)


def _retry_after_s(held: HeldJob, ended: Ended) -> float | None:
    """Return the seconds until the next attempt may begin; ``None`` if there is none after this result."""
    delay_s = None if held.intent is not None else delay_before_retry_s(held.spec, ended.outcome)
    stop = None if ended.process is None else ended.process.stop
    is_handed_on = stop is not None and stop.is_handed_on
    return 0.0 if delay_s is not None and is_handed_on else delay_s
