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
        event: The event of the state machine; ``None`` for a mere fact, such as the process id.
        at_s: When it happened, monotonic.
    """

    sequence: int
    event: str | None
    at_s: float


@dataclass(frozen=True, slots=True)
class Stop:
    """Why this worker itself ends a running job.

    Attributes:
        reason: Text for people.
        is_given_up: Whether the attempt ends FAILED as ``worker_lost``, not INTERRUPTED.
        is_handed_on: Whether the next attempt may begin at once on another worker.
    """

    reason: str
    is_given_up: bool = False
    is_handed_on: bool = False


@dataclass(frozen=True, slots=True)
class Waiting:
    """It has no process yet. Next: Running, Ended (interrupted), GoingBack or Fenced."""


@dataclass(slots=True, eq=False)
class Running:
    """Its process exists. Next: Ended or Fenced.

    Attributes:
        pid: The process id of its first process.
        started_s: When that process was started, monotonic.
        stop: Why this worker ends it; ``None`` if it does not.
    """

    pid: int
    started_s: float
    stop: Stop | None = None


@dataclass(slots=True, eq=False)
class Ended:
    """It has a result, which is not recorded yet. Next: Fenced, or no longer held.

    Attributes:
        ended_s: When it ended, monotonic.
        process: Its process; ``None`` if it never started.
        completion: What has to be recorded; ``None`` until its output has been sent.
    """

    outcome: Outcome
    ended_s: float
    process: Running | None
    completion: Completion | None = None


@dataclass(frozen=True, slots=True)
class GoingBack:
    """It never started, and returns to its queue. Next: Fenced, or no longer held.

    Attributes:
        why: One word for the history.
    """

    why: str


@dataclass(frozen=True, slots=True)
class Fenced:
    """This worker no longer has the right to run it: its processes are killed, and nothing is recorded. Final."""


Phase = Waiting | Running | Ended | GoingBack | Fenced

WAITING: Final = Waiting()
FENCED: Final = Fenced()


@dataclass(slots=True, eq=False)
class HeldJob:
    """One claimed job, from the claim until its result is recorded.

    ``phase`` holds the data that exists only in that phase. The other attributes apply to every phase.

    Attributes:
        holder: Proves to Redis that this worker may record changes of the job.
        spec: What to run; ``None`` before it is read, and if it cannot be read.
        sequence: Number of the last change.
        changes: Changes that are not recorded yet, oldest first.
        next_append_s: When output may be sent again, monotonic.
        intent: The recorded interrupt of the job, once it was read.
        is_unsettled: Whether a server that may have lost the job has not confirmed it yet: nothing is recorded now.
        is_damaged: Whether its result cannot be recorded until a person repairs a key.
        has_logged_loss: Whether it was logged that output of the job is dropped.
        token: The token in the environment of its processes; the holder's token may be a later one.
        task_id: Its name in the engine; job ids are unique within a queue only.
    """

    keys: QueueKeys
    job_id: str
    attempt: int
    holder: Holder
    spec: JobSpec | None = None
    phase: Phase = WAITING
    output: OutputBuffer = field(default_factory=OutputBuffer)
    sequence: int = 0
    changes: list[Change] = field(default_factory=list)
    next_append_s: float = 0.0
    intent: Intent | None = None
    is_unsettled: bool = False
    is_damaged: bool = False
    has_logged_loss: bool = False
    token: str = field(init=False)
    task_id: str = field(init=False)

    def __post_init__(self) -> None:
        self.token = self.holder.token
        self.task_id = f"{self.keys.queue}/{self.job_id}"

    def matches(self, spec: bytes, stdin: bytes) -> bool:
        """Whether these stored bytes describe the same specification."""
        try:
            return self.spec == unpack_spec(spec, stdin)
        except MalformedData:
            return False

    @property
    def process(self) -> Running | None:
        """Its process, running or ended; ``None`` if there was none, or if the job is fenced."""
        match self.phase:
            case Running() as running:
                return running
            case Ended(process=process):
                return process
            case _:
                return None

    @property
    def is_exclusive(self) -> bool:
        """Whether it must end before its lease expires."""
        return self.spec is not None and self.spec.is_exclusive


def log_fields(held: HeldJob, **more: str) -> dict[str, Any]:
    """Return the fields of a log record about a job, as the ``extra`` of a logging call."""
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
        """Add a job that is held from now on and may be started."""

    def hand_over(self, held: HeldJob) -> None:
        """Record that a job is held under another token from now on."""

    def release(self, held: HeldJob) -> None:
        """Remove a job that is no longer held."""


class HeldJobs:
    """All held jobs, by queue and id.

    Args:
        starts: Updated whenever a job is added, handed over or removed.
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
        """Continue a held job under the new token: it was handed to this worker again."""
        held.holder = holder
        self._remember(held)
        self._starts.hand_over(held)

    def remove(self, held: HeldJob) -> None:
        """Hold a job no longer."""
        held.output.share(Allowance())  # Unsent output of this job no longer counts against the other jobs.
        if self._held.get(held.task_id) is held:
            del self._held[held.task_id]
            self._starts.release(held)
            self._changed.set()

    def find(self, queue: str, job_id: str) -> HeldJob | None:
        """The job with this id, if it is held."""
        return self._held.get(f"{queue}/{job_id}")

    def by_task(self, task_id: str) -> HeldJob | None:
        """The job behind a task of the engine."""
        return self._held.get(task_id)

    def has_received(self, queue: str, job_id: str, token: str) -> bool:
        """Whether the attempt with this token was ever handed to this worker, even if it ended long ago."""
        return (f"{queue}/{job_id}", token) in self._tokens

    async def wait_for_change(self) -> None:
        """Wait until a job is added, removed, or marked as damaged."""
        self._changed.clear()
        await self._changed.wait()

    @property
    def are_recorded(self) -> bool:
        """Whether all results are recorded, except those that a damaged key blocks."""
        return all(held.is_damaged for held in self._held.values())

    def mark_damaged(self, held: HeldJob) -> None:
        """Record that a job's result cannot be recorded until a person repairs a key."""
        held.is_damaged = True
        self._changed.set()

    async def wait_until_recorded(self) -> None:
        """Wait until all results are recorded, except those that a damaged key blocks."""
        while not self.are_recorded:
            await self.wait_for_change()

    def _remember(self, held: HeldJob) -> None:
        self._tokens[held.task_id, held.holder.token] = None
        while len(self._tokens) > REMEMBERED_TOKENS:
            self._tokens.popitem(last=False)
