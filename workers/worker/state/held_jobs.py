"""What a worker holds: the jobs it claimed and has not written the end of."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

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
    """Something to write down about a job.

    Attributes:
        sequence: Its number within the attempt, from 1; Redis ignores what it has seen.
        event: Of the state machine; ``None`` for a mere fact.
        at_s: When it happened, monotonic.
    """

    sequence: int
    event: str | None
    at_s: float


@dataclass(slots=True, eq=False)
class HeldJob:
    """One claimed job, from the claim until its end is on record.

    Attributes:
        holder: Proves to Redis that this worker may write.
        token: What its processes bear in their environment; the holder's may be a later one.
        task_id: How the orchestrator names it; ids are unique within a queue only.
        sequence: Number of the last change.
        changes: What happened and is not on record yet, oldest first.
        next_append_s: When output may be sent again, monotonic.
        ended: How and when it ended, once it has.
        intent: The interrupt that is on record for it, once it was read.
        stop_reason: Why this worker ended it of its own accord.
        goes_back: Why it returns to the queue, having never begun; one word.
        is_given_up: Whether this worker ended it because its lease, or this worker, does not last.
        is_handed_on: Whether its next attempt may begin at once, elsewhere.
        ending: What has to be written about its end, once that is settled.
        is_unsettled: Whether a server that may have forgotten it did not take it as ours yet: nothing is written now.
        is_told_of_loss: Whether it was said that output of it is dropped.
        is_damaged: Whether its end cannot be written until somebody mends a key.
        is_fenced: Whether it turned out to be another's: its processes end, nothing more is written.
    """

    keys: QueueKeys
    job_id: str
    attempt: int
    holder: Holder
    spec: JobSpec | None
    output: OutputBuffer = field(default_factory=OutputBuffer)
    pid: int | None = None
    started_s: float | None = None
    sequence: int = 0
    changes: list[Change] = field(default_factory=list)
    next_append_s: float = 0.0
    ended: tuple[Outcome, float] | None = None
    intent: Intent | None = None
    stop_reason: str | None = None
    goes_back: str | None = None
    is_given_up: bool = False
    is_handed_on: bool = False
    completion: Completion | None = None
    is_unsettled: bool = False
    is_told_of_loss: bool = False
    is_damaged: bool = False
    is_fenced: bool = False
    token: str = field(init=False)
    task_id: str = field(init=False)

    def __post_init__(self) -> None:
        self.token = self.holder.token
        self.task_id = f"{self.keys.queue}/{self.job_id}"

    def is_of(self, spec: bytes, stdin: bytes) -> bool:
        """Whether this is the job that is stored so."""
        try:
            return self.spec == unpack_spec(spec, stdin)
        except MalformedData:
            return False

    @property
    def is_exclusive(self) -> bool:
        """Whether it must not run on when its lease may be given away."""
        return self.spec is not None and self.spec.is_exclusive


class HeldJobs:
    """All held jobs, by queue and id.

    Attributes:
        on_removed: Told of each job that is let go.
        on_handed_over: Told of each job that goes on under another token.
    """

    def __init__(self) -> None:
        self.on_removed: Callable[[HeldJob], None] | None = None
        self.on_handed_over: Callable[[HeldJob], None] | None = None
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
        held.output.share(self._allowance)
        self._remember(held)
        self._changed.set()

    def hand_over(self, held: HeldJob, holder: Holder) -> None:
        """A held job was handed to this worker once more, and goes on."""
        held.holder = holder
        self._remember(held)
        if self.on_handed_over is not None:
            self.on_handed_over(held)

    def remove(self, held: HeldJob) -> None:
        """Let a job go."""
        held.output.share(Allowance())  # what was not sent is nobody's concern any more
        if self._held.get(held.task_id) is held:
            del self._held[held.task_id]
            if self.on_removed is not None:
                self.on_removed(held)
            self._changed.set()

    def find(self, queue: str, job_id: str) -> HeldJob | None:
        """The job of that id, if it is held."""
        return self._held.get(f"{queue}/{job_id}")

    def by_task(self, task_id: str) -> HeldJob | None:
        """The job behind a task of the orchestrator."""
        return self._held.get(task_id)

    def has_received(self, queue: str, job_id: str, token: str) -> bool:
        """Whether this very attempt was ever handed to this worker, even if it has long ended."""
        return (f"{queue}/{job_id}", token) in self._tokens

    async def wait_for_change(self) -> None:
        """Wait until a job is added or removed, or its end is held up."""
        self._changed.clear()
        await self._changed.wait()

    @property
    def are_written(self) -> bool:
        """Whether nothing is held but what cannot be written."""
        return all(held.is_damaged for held in self._held.values())

    def mark_damaged(self, held: HeldJob) -> None:
        """Its end cannot be written until somebody mends a key."""
        held.is_damaged = True
        self._changed.set()

    async def wait_until_written(self) -> None:
        """Wait until nothing is held but what cannot be written."""
        while not self.are_written:
            await self.wait_for_change()

    def _remember(self, held: HeldJob) -> None:
        self._tokens[held.task_id, held.holder.token] = None
        while len(self._tokens) > REMEMBERED_TOKENS:
            self._tokens.popitem(last=False)
