"""The jobs that this worker holds: those it claimed and whose result is not recorded yet."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from oneshot_queue.errors import MalformedData
from oneshot_queue.outcomes import Outcome
from oneshot_queue.spec import JobSpec
from oneshot_queue.store.attempts import Holder
from oneshot_queue.store.keys import QueueKeys
from oneshot_queue.store.leases import Intent
from oneshot_queue.wire.specs import unpack_spec
from oneshot_queue.workers.worker.state.completions import Completion
from oneshot_queue.workers.worker.state.output_buffer import Allowance, OutputBuffer

REMEMBERED_TOKENS: Final = 10_000


@dataclass(slots=True)
class Change:
    """A change of a job that has to be recorded.

    Attributes:
        sequence: Its number within the attempt, from 1; Redis ignores numbers that it has seen.
        event: Of the state machine; ``None`` for a mere fact, such as the process id.
        at_s: When it happened, monotonic.
    """

    sequence: int
    event: str | None
    at_s: float


@dataclass(frozen=True, slots=True)
class Stop:
    """Why this worker ends a running job of its own accord.

    Attributes:
        reason: For people.
        is_given_up: The attempt ends FAILED as ``worker_lost``, not INTERRUPTED.
        is_handed_on: The next attempt may begin at once, elsewhere.
    """

    reason: str
    is_given_up: bool = False
    is_handed_on: bool = False


@dataclass(frozen=True, slots=True)
class Waiting:
    """It has no process yet. Leaves to: Running, Ended (interrupted), GoingBack or Fenced."""


@dataclass(slots=True, eq=False)
class Running:
    """Its process exists. Leaves to: Ended or Fenced.

    Attributes:
        pid: The process id of its first process.
        started_s: When that was started, monotonic.
        stop: Why this worker ends it, if it does.
    """

    pid: int
    started_s: float
    stop: Stop | None = None


@dataclass(slots=True, eq=False)
class Ended:
    """It has a result, which is not recorded yet. Leaves to: nothing, or Fenced.

    Attributes:
        ended_s: When it ended, monotonic.
        process: What ran; ``None`` if it never started.
        completion: All that has to be recorded, once that is final: its output must have been sent first.
    """

    outcome: Outcome
    ended_s: float
    process: Running | None
    completion: Completion | None = None


@dataclass(frozen=True, slots=True)
class GoingBack:
    """It never started, and returns to its queue. Leaves to: nothing, or Fenced.

    Attributes:
        why: One word for the history.
    """

    why: str


@dataclass(frozen=True, slots=True)
class Fenced:
    """It is not this worker's any more: its processes end, and nothing is recorded. Final."""


Phase = Waiting | Running | Ended | GoingBack | Fenced

WAITING: Final = Waiting()
FENCED: Final = Fenced()


@dataclass(slots=True, eq=False)
class HeldJob:
    """One claimed job, from the claim until its result is recorded.

    ``phase`` says how far it has come, and carries what only that phase knows. The other attributes are true in every
    phase.

    Attributes:
        holder: Proves to Redis that this worker may write.
        spec: What to run; ``None`` while it is not read, and if it cannot be.
        sequence: Number of the last change.
        changes: What is not recorded yet, oldest first.
        next_append_s: When output may be sent again, monotonic.
        intent: The interrupt on record for it, once that was read.
        is_unsettled: Whether a server that may have forgotten it has not confirmed it yet: nothing is recorded now.
        is_damaged: Whether its result cannot be recorded until a person repairs a key.
        is_told_of_loss: Whether it was logged that output of it is dropped.
        token: What its processes have in their environment; the holder's token may be a later one.
        task_id: Its name in the engine; job ids are unique within a queue only.
    """

    keys: QueueKeys
    job_id: str
    attempt: int
    holder: Holder
    spec: JobSpec | None
    phase: Phase = WAITING
    output: OutputBuffer = field(default_factory=OutputBuffer)
    sequence: int = 0
    changes: list[Change] = field(default_factory=list)
    next_append_s: float = 0.0
    intent: Intent | None = None
    is_unsettled: bool = False
    is_damaged: bool = False
    is_told_of_loss: bool = False
    token: str = field(init=False)
    task_id: str = field(init=False)

    def __post_init__(self) -> None:
        self.token = self.holder.token
        self.task_id = f"{self.keys.queue}/{self.job_id}"

    def is_of(self, spec: bytes, stdin: bytes) -> bool:
        """Whether these stored bytes describe this very job."""
        try:
            return self.spec == unpack_spec(spec, stdin)
        except MalformedData:
            return False

    @property
    def process(self) -> Running | None:
        """Its process, running or ended; ``None`` if there was none, or the job is fenced."""
        match self.phase:
            case Running() as running:
                return running
            case Ended(process=process):
                return process
            case _:
                return None

    @property
    def is_exclusive(self) -> bool:
        """Whether it must end before its lease can be given away."""
        return self.spec is not None and self.spec.is_exclusive


def log_fields(held: HeldJob, **more: str) -> dict[str, Any]:
    """What a log record says of a job, as the ``extra`` of a logging call."""
    return {
        "job": held.job_id,
        "queue": held.keys.queue,
        "attempt": held.attempt,
        "worker": held.holder.worker,
        **more,
    }


class StartLog(Protocol):
    """Knows which held jobs may have been started."""

    def hold(self, held: HeldJob) -> None:
        """The job is held from now on, and may be started."""

    def hand_over(self, held: HeldJob) -> None:
        """The job is held under another token from now on."""

    def let_go(self, held: HeldJob) -> None:
        """The job is not held any more."""


class HeldJobs:
    """All held jobs, by queue and id.

    Args:
        starts: Kept in step with what is held.
    """

    def __init__(self, starts: StartLog) -> None:
        self._starts = starts
        self._held: dict[str, HeldJob] = {}
        self._tokens: OrderedDict[tuple[str, str], None] = OrderedDict()
        self._allowance = Allowance()
        self._changed = asyncio.Event()

    def __iter__(self) -> Iterator[HeldJob]:
        return iter(list(self._held.values()))

    def __len__(self) -> int:
        return len(self._held)

    def add(self, held: HeldJob) -> None:
        """Hold a job."""
        self._held[held.task_id] = held
        self._starts.hold(held)
        held.output.share(self._allowance)
        self._remember(held)
        self._changed.set()

    def hand_over(self, held: HeldJob, holder: Holder) -> None:
        """A held job was handed to this worker once more, and continues under the new token."""
        held.holder = holder
        self._remember(held)
        self._starts.hand_over(held)

    def remove(self, held: HeldJob) -> None:
        """Let a job go."""
        held.output.share(Allowance())  # Output that was not sent takes no room from the other jobs any more.
        if self._held.get(held.task_id) is held:
            del self._held[held.task_id]
            self._starts.let_go(held)
            self._changed.set()

    def find(self, queue: str, job_id: str) -> HeldJob | None:
        """The job with this id, if it is held."""
        return self._held.get(f"{queue}/{job_id}")

    def by_task(self, task_id: str) -> HeldJob | None:
        """The job behind a task of the engine."""
        return self._held.get(task_id)

    def has_received(self, queue: str, job_id: str, token: str) -> bool:
        """Whether this very attempt was ever handed to this worker, even if it ended long ago."""
        return (f"{queue}/{job_id}", token) in self._tokens

    async def wait_for_change(self) -> None:
        """Wait until a job is added or removed, or its result turns out to be blocked by a damaged key."""
        self._changed.clear()
        await self._changed.wait()

    @property
    def are_recorded(self) -> bool:
        """Whether all results are recorded but those that a damaged key blocks."""
        return all(held.is_damaged for held in self._held.values())

    def mark_damaged(self, held: HeldJob) -> None:
        """Its result cannot be recorded until a person repairs a key."""
        held.is_damaged = True
        self._changed.set()

    async def wait_until_recorded(self) -> None:
        """Wait until all results are recorded but those that a damaged key blocks."""
        while not self.are_recorded:
            await self.wait_for_change()

    def _remember(self, held: HeldJob) -> None:
        self._tokens[held.task_id, held.holder.token] = None
        while len(self._tokens) > REMEMBERED_TOKENS:
            self._tokens.popitem(last=False)
