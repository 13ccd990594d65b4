"""Writes down what happens to held jobs: silence, activity, and the end."""

from __future__ import annotations

import asyncio
import logging
import random
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any, Final

import anyio

from oneshot_queue.backoff import retry_delay
from oneshot_queue.clock import Clock
from oneshot_queue.errors import BrokerError, OneshotQueueError
from oneshot_queue.outcomes import Outcome
from oneshot_queue.settings import Settings
from oneshot_queue.states import JobState
from oneshot_queue.store import attempts
from oneshot_queue.store.attempts import Fenced, Holder, Recorded
from oneshot_queue.store.calls import Call, Word
from oneshot_queue.store.claims import Returned
from oneshot_queue.store.keys import QueueKeys
from oneshot_queue.store.transport.connection import AsyncConnection
from oneshot_queue.store.transport.refusals import is_damage
from oneshot_queue.wire.chunks import Chunk
from oneshot_queue.workers.engine.crash_points import crash_at
from oneshot_queue.workers.worker.outages import level_of
from oneshot_queue.workers.worker.spooler import Spooler
from oneshot_queue.workers.worker.state.batch_window import BatchWindow
from oneshot_queue.workers.worker.state.completions import Completion, Requeue
from oneshot_queue.workers.worker.state.held_jobs import Change, HeldJob, HeldJobs

logger = logging.getLogger(__name__)

MAX_CHANGES: Final = 50
"""Unrecorded changes kept of one job; the oldest pair of a silence and its end goes first."""

MAX_BATCH: Final = 200

RECENT_S: Final = 60.0
MAX_RECENT: Final = 5_000

FACT_DELAY_S: Final = 0.02
"""How long a fact waits at least for the end of its job; at most twice as long."""

REPAIR_S: Final = 2.0
"""How long to wait for somebody to mend a key that is not what we keep there, before an end is tried again."""


@dataclass(slots=True)
class _Plan:
    """What to send for one job.

    Attributes:
        holder: As whom it is sent.
        covers: Sequence number of the last change that is in it.
        ends: Whether the job's end is in it.
    """

    held: HeldJob
    holder: Holder
    calls: list[Call[Any]] = field(default_factory=list)
    covers: int = 0
    ends: bool = False


class Recorder:
    """Group commit: what piles up while one pipeline is in flight goes out as the next one.

    Every change carries its number within the attempt and every end its token, so a pipeline whose reply was lost is
    simply sent again. A job's end waits until its output has been sent.

    Args:
        on_fenced: Called with a job that turned out to be another's.
        safe: Keeps ends on disk as long as the broker cannot take them.
        pace: In which ends are written in a rush.
    """

    def __init__(
        self,
        *,
        connection: AsyncConnection,
        held_jobs: HeldJobs,
        clock: Clock,
        settings: Settings,
        on_fenced: Callable[[HeldJob], None],
        spooler: Spooler,
        window: BatchWindow,
    ) -> None:
        self._connection = connection
        self._held_jobs = held_jobs
        self._clock = clock
        self._settings = settings
        self._on_fenced = on_fenced
        self._spooler = spooler
        self._window = window
        self._due: dict[HeldJob, None] = {}
        self._recent: deque[tuple[float, Completion | Requeue]] = deque(maxlen=MAX_RECENT)
        self._mending: set[HeldJob] = set()
        self._new_facts: list[HeldJob] = []
        self._old_facts: list[HeldJob] = []
        self._fact_timer: asyncio.TimerHandle | None = None
        self._wanted = anyio.Event()

    def note(self, held: HeldJob, event: str | None = None) -> None:
        """Something changed: an event of the state machine, or only a fact such as the process id."""
        held.sequence += 1
        held.changes.append(Change(held.sequence, event, self._clock.monotonic()))
        if len(held.changes) > MAX_CHANGES:
            # Not the first, which may be a fact; a pair, so that silence and activity go on taking turns.
            del held.changes[1:3]
        if event is None:
            # A fact can wait a little: that of a short job travels with its end.
            self._new_facts.append(held)
            if self._fact_timer is None:
                self._set_fact_timer()
        else:
            self.look_at(held)

    def _set_fact_timer(self) -> None:
        self._fact_timer = asyncio.get_running_loop().call_later(FACT_DELAY_S, self._look_at_facts)

    def _look_at_facts(self) -> None:
        # One timer for all; what came while it ran has its whole turn still before it.
        for held in self._old_facts:
            if held.changes:
                self.look_at(held)
        self._old_facts, self._new_facts, self._fact_timer = self._new_facts, [], None
        if self._old_facts:
            self._set_fact_timer()

    def look_at(self, held: HeldJob) -> None:
        """There may be something to write about this job."""
        self._due[held] = None
        self._wanted.set()

    async def run(self) -> None:
        """Record for ever, outlasting any absence of the broker."""
        failures = 0
        while True:
            if not self._due:
                self._wanted = anyio.Event()
                await self._wanted.wait()
            await self._window.keep()
            try:
                await self.run_once()
                failures = 0
            except OneshotQueueError as problem:
                await self.keep_safe()
                # Refused counts as absent: a password that was changed for a while must not end any job.
                failures += 1
                logger.log(level_of(problem, failures), "cannot record: %s", problem)
                await anyio.sleep(retry_delay(failures, base_s=0.05, cap_s=2.0, spread=random.uniform(0.5, 1.0)))
            if self._mending:
                await self.keep_safe()
            await self._spooler.release(self._held_jobs)

    async def keep_safe(self) -> None:
        """Bring the ends to the disk that the broker does not take now, also those that wait for output."""
        await self._spooler.keep((held, self._settled(held)) for held in self._held_jobs if _has_end(held))

    async def run_once(self) -> int:
        """Send what is due in one pipeline; returns of how many jobs.

        Raises:
            BrokerError: What is not known to be recorded is due still.
        """
        due = list(self._due)[:MAX_BATCH]
        for held in due:
            del self._due[held]
        # Whoever settles the others has them looked at again.
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
        if held.is_fenced:
            return plan
        for change in held.changes:
            plan.covers = change.sequence
            # A short job's process id travels with its end, not in a call of its own.
            if change.event is not None or held.ended is None:
                plan.calls.append(self._record(held, change))
        if held.ended is not None and held.output.in_flight is None:
            inline = held.output.take_inline()
            if inline is not None or not held.output.is_waiting:
                plan.ends = True
                plan.calls.append(self._end(held, inline or []))
        return plan

    def _end(self, held: HeldJob, inline: list[Chunk]) -> Call[Any]:
        if held.goes_back is not None:
            return Requeue(held.keys, held.job_id, held.holder, held.goes_back).give_back(self._settings)
        held.completion = held.completion or self._ending(held, inline)
        return _told_by(held.completion, held.holder).finish(self._clock.monotonic(), self._settings)

    def _settled(self, held: HeldJob) -> Completion:
        """How a job ended, as far as it is known while its output may still be on its way."""
        return held.completion or self._ending(held, held.output.take_inline() or [])

    def _record(self, held: HeldJob, change: Change) -> Call[Any]:
        return attempts.record(
            held.keys,
            held.job_id,
            held.holder,
            sequence=change.sequence,
            event=change.event,
            ago_ms=self._ago_ms(change.at_s),
            fields={} if held.pid is None else {"pid": held.pid},
        )

    def _ending(self, held: HeldJob, inline: list[Chunk]) -> Completion:
        assert held.ended is not None
        outcome, at_s = held.ended
        if held.intent is None and outcome.state is JobState.INTERRUPTED:
            outcome = replace(outcome, error=held.stop_reason)
        fields: dict[str, Word] = {} if held.pid is None else {"pid": held.pid}
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
            outcome,
            ended_s=at_s,
            started_s=held.started_s,
            inline=tuple(inline),
            kept=held.output.kept,
            fields=fields,
            retry_after_s=_retry_after_s(held, outcome),
        )

    def _settle(self, plan: _Plan, answers: list[Any]) -> BrokerError | None:
        """Take in the answers for one job; returns why it has to be sent again, if it has."""
        held = plan.held
        if held.is_fenced:
            held.changes.clear()
            return None
        for answer in answers:
            match answer:
                case Recorded() | Returned():
                    continue
                case Fenced() if plan.holder != held.holder or held.is_unsettled:
                    # It was handed to us once more meanwhile, or the server is still being told that it is ours.
                    self.look_at(held)
                    return None
                case Fenced():
                    self._on_fenced(held)
                    return None
                case BrokerError() if not is_damage(answer):
                    self.look_at(held)
                    return answer
                case BrokerError() if plan.ends and answer is answers[-1]:
                    self._wait_for_mending(held, answer)
                    return None
                case _:
                    # Nothing that could be repeated: the job's record is not what it should be. Its end still counts.
                    logger.error("job %s: the broker took a change amiss: %s", held.job_id, answer)
        held.changes = [each for each in held.changes if each.sequence > plan.covers]
        if plan.ends:
            self._let_go(plan)
        elif held.changes:
            self.look_at(held)
        return None

    def _let_go(self, plan: _Plan) -> None:
        held = plan.held
        if held.is_damaged:
            logger.warning("job %s: its end is written now", held.job_id)
        if held.goes_back is not None:
            self._remember(Requeue(held.keys, held.job_id, plan.holder, held.goes_back))
        elif held.completion is not None:
            self._remember(_told_by(held.completion, plan.holder))
        self._due.pop(held, None)
        self._held_jobs.remove(held)

    def _wait_for_mending(self, held: HeldJob, problem: BrokerError) -> None:
        if not held.is_damaged:
            self._held_jobs.mark_damaged(held)
            logger.error(
                "job %s: its end cannot be written, and is tried every %g s: %s", held.job_id, REPAIR_S, problem
            )
        if held not in self._mending:
            self._mending.add(held)
            asyncio.get_running_loop().call_later(REPAIR_S, self._try_again, held)

    def _try_again(self, held: HeldJob) -> None:
        self._mending.discard(held)
        self.look_at(held)

    def recent(self, keys: QueueKeys) -> Iterable[Completion | Requeue]:
        """What was recorded of a queue's jobs in the last minute: a server that crashes may forget it."""
        since_s = self._clock.monotonic() - RECENT_S
        return [completion for at_s, completion in self._recent if at_s >= since_s and completion.keys == keys]

    def _remember(self, completion: Completion | Requeue) -> None:
        now = self._clock.monotonic()
        self._recent.append((now, completion))
        while self._recent[0][0] < now - RECENT_S:
            self._recent.popleft()

    def _ago_ms(self, at_s: float) -> int:
        return max(0, round((self._clock.monotonic() - at_s) * 1000))


def _told_by(completion: Completion, holder: Holder) -> Completion:
    return completion if completion.holder == holder else replace(completion, holder=holder)


def _has_end(held: HeldJob) -> bool:
    return held.ended is not None and held.goes_back is None and not held.is_fenced


def _retry_after_s(held: HeldJob, outcome: Outcome) -> float | None:
    """Seconds until the next attempt may begin, if the job asked for one after such an end."""
    spec = held.spec
    if spec is None or held.intent is not None or not spec.begins_again(outcome):
        return None
    if held.is_handed_on:
        return 0.0
    spread = random.uniform(0.5, 1.0)
    return retry_delay(held.attempt, base_s=spec.retry_delay, cap_s=spec.retry_max_delay, spread=spread)
