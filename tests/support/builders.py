"""One queue on a test's server: the store's own calls with defaults, and a plain client to inspect the result.

``Store`` sends what a worker or an app would send. Its ``redis`` is redis-py's own client, for what the product must
not do: inspect keys, damage them, move their times into the past.
"""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

import redis.asyncio

from oneshot_queue import Queue
from oneshot_queue.jobs import JobRecord
from oneshot_queue.outcomes import Cause, Outcome, Usage
from oneshot_queue.settings import Settings
from oneshot_queue.spec import JobSpec, Priority
from oneshot_queue.states import JobState
from oneshot_queue.store import attempts, enqueue, leases, output, records, steering
from oneshot_queue.store import claims as claims_store
from oneshot_queue.store.attempts import Holder, Recorded
from oneshot_queue.store.calls import Call
from oneshot_queue.store.claims import Claim, Claimed, RetryLater
from oneshot_queue.store.enqueue import AT_ONCE, When
from oneshot_queue.store.keys import GROUP, QueueKeys
from oneshot_queue.store.leases import LeaseLost
from oneshot_queue.store.transport.async_node import MeetServer, RunMany
from oneshot_queue.store.transport.connection import AsyncConnection
from oneshot_queue.store.transport.server_facts import ServerFacts
from oneshot_queue.task_events import OutputStream
from oneshot_queue.wire.chunks import Chunk
from oneshot_queue.wire.presences import WorkerPresence

T = TypeVar("T")

NOBODY = Holder(token="", lease="", worker="nobody")
"""The holder of a job that was never claimed."""

CAUSES = {
    JobState.COMPLETED: Cause.EXIT,
    JobState.FAILED: Cause.SIGNAL,
    JobState.INTERRUPTED: Cause.INTERRUPTED,
}


@dataclass(slots=True)
class Held:
    """A job, and the proof that its attempt is the caller's."""

    id: str
    holder: Holder
    attempt: int = 1
    sequence: int = 0


@dataclass(frozen=True, slots=True)
class Store:
    """One queue of one server."""

    connection: AsyncConnection
    redis: Any  # redis-py's types do not say whether a call must be awaited
    keys: QueueKeys
    settings: Settings = field(default_factory=Settings)

    async def run(self, call: Call[T]) -> T:
        """Carry out one call."""
        return await self.connection.run(call)

    # What an app does.

    async def enqueue(
        self, spec: JobSpec | None = None, *, job_id: str | None = None, by: str = "app@host", when: When = AT_ONCE
    ) -> str:
        """Enqueue a job and return its id."""
        job_id = job_id or a_job_id()
        call = enqueue.enqueue(self.keys, job_id, spec or a_spec(), by=by, max_length=1_000_000, when=when)
        answer = await self.run(call)
        assert answer == enqueue.Enqueued(created=True)
        return job_id

    async def enqueue_many(self, count: int, spec: JobSpec | None = None) -> list[str]:
        """Enqueue many equal jobs, in order."""
        ids = [a_job_id() for _ in range(count)]
        calls = [enqueue.enqueue(self.keys, each, spec or a_spec(), by="app@host", max_length=10**6) for each in ids]
        await self.connection.run_many(calls)
        return ids

    async def interrupt(
        self, job_id: str, *, grace: float | None = None, reason: str | None = None, by: str = "ops@host"
    ) -> steering.Ended | steering.IntentRecorded | steering.AlreadyFinal | steering.Missing:
        """Interrupt a job."""
        return await self.run(
            steering.interrupt(self.keys, job_id, grace=grace, by=by, reason=reason, settings=self.settings)
        )

    # What a worker does.

    async def lease(self, lease: str | None = None) -> str:
        """Register a lease and return its id."""
        lease = lease or a_lease()
        await self.run(leases.register(self.keys, lease, 30.0))
        return lease

    async def claim(self, lease: str, free: int = 1) -> list[Claim]:
        """Claim waiting jobs under a live lease, until ``free`` are claimed or none is left."""
        claims: list[Claim] = []
        while len(claims) < free and (more := (await self.claimed(lease, free - len(claims))).claims):
            claims += more
        return claims

    async def claimed(self, lease: str, free: int = 1) -> Claimed:
        """Claim once; the answer includes the number of quarantined entries."""
        who = {"lease": lease, "worker": "worker", "host": "host"}
        answer = await self.run(claims_store.claim(self.keys, free=free, settings=self.settings, **who))
        assert isinstance(answer, Claimed)
        return answer

    async def claim_one(self, job_id: str, lease: str) -> Claimed | RetryLater | LeaseLost:
        """Claim exactly this job."""
        who = {"lease": lease, "worker": "worker", "host": "host"}
        return await self.run(claims_store.claim_one(self.keys, job_id, settings=self.settings, **who))

    async def reclaim(self, lease: str, known: Sequence[str] = ()) -> list[Claim]:
        """Read back what a lease holds."""
        answer = await self.run(claims_store.reclaim(self.keys, lease=lease, known=known))
        assert isinstance(answer, Claimed)
        return list(answer.claims)

    async def running(
        self,
        spec: JobSpec | None = None,
        *,
        lease: str | None = None,
        job_id: str | None = None,
        by: str = "app@host",
    ) -> Held:
        """Enqueue and claim a job."""
        job_id = await self.enqueue(spec, job_id=job_id, by=by)
        return await self.held(job_id, lease or await self.lease())

    async def held(self, job_id: str, lease: str) -> Held:
        """Claim a waiting job."""
        answer = await self.claim_one(job_id, lease)
        assert isinstance(answer, Claimed)
        (claim,) = answer.claims
        return Held(job_id, Holder(claim.token, lease, "worker"), claim.attempt)

    async def record(
        self, held: Held, event: str | None = None, *, ago_ms: int = 0, **fields: str | int
    ) -> attempts.Recorded | attempts.Fenced | attempts.Refused:
        """Record the next event of an attempt."""
        held.sequence += 1
        return await self.run(self.record_call(held, event, ago_ms=ago_ms, **fields))

    def record_call(
        self, held: Held, event: str | None = None, *, ago_ms: int = 0, **fields: str | int
    ) -> Call[attempts.Recorded | attempts.Fenced | attempts.Refused]:
        """Return ``record`` as a call, with the attempt's current sequence number."""
        return attempts.record(
            self.keys, held.id, held.holder, sequence=held.sequence, event=event, ago_ms=ago_ms, fields=fields
        )

    async def append(
        self,
        held: Held,
        *chunks: Chunk,
        in_head: bool = True,
        dropped: int = 0,
        tail_from: tuple[int, int] = (0, 0),
    ) -> attempts.Recorded | attempts.Fenced:
        """Append chunks of output, all to the head or all to the tails."""
        total = max(chunk.offset + len(chunk.data) for chunk in chunks)
        return await self.run(
            attempts.append_output(
                self.keys,
                held.id,
                held.attempt,
                held.holder,
                [(chunk, in_head) for chunk in chunks],
                total=total,
                dropped=dropped,
                now_ms=max(chunk.at_ms for chunk in chunks),
                tail_from=tail_from,
            )
        )

    async def finish(
        self, held: Held, outcome: Outcome | None = None, **options: Any
    ) -> attempts.Recorded | attempts.Fenced | attempts.Refused:
        """Record an attempt's result."""
        return await self.run(self.finish_call(held, outcome, **options))

    def finish_call(
        self,
        held: Held,
        outcome: Outcome | None = None,
        *,
        ago_ms: int = 0,
        inline_output: bytes = b"",
        kept: int = 0,
        settings: Settings | None = None,
        retry_after_s: float | None = None,
        **fields: str | int,
    ) -> Call[attempts.Recorded | attempts.Fenced | attempts.Refused]:
        """Return ``finish`` as a call."""
        return attempts.finish(
            self.keys,
            held.id,
            held.holder,
            outcome or an_outcome(),
            ago_ms=ago_ms,
            inline_output=inline_output,
            kept=kept,
            fields=fields,
            settings=settings or self.settings,
            retry_after_s=retry_after_s,
        )

    async def finished(self, state: JobState = JobState.COMPLETED, **options: Any) -> Held:
        """Run a job to its result."""
        held = await self.running()
        assert await self.finish(held, an_outcome(state), **options) == Recorded(state)
        return held

    async def in_state(self, state: JobState) -> Held:
        """Bring a new job into a state, by the scripts."""
        if state is JobState.CREATED:
            return Held(await self.enqueue(), NOBODY)
        held = await self.running()
        if state is JobState.IDLE:
            await self.record(held, "detect_silence")
        elif state.is_final:
            await self.finish(held, an_outcome(state))
        return held

    # Inspecting what is stored.

    async def record_of(self, job_id: str) -> JobRecord:
        """Return a job's record."""
        answers = await self.connection.run_many(records.record_parts(self.keys, job_id))
        known = records.parsed_record(self.keys, job_id, answers)
        assert known is not None, f"there is no job {job_id}"
        return known

    async def state_of(self, job_id: str) -> str | None:
        """Return the state in a job's hash."""
        raw: bytes | None = await self.redis.hget(self.keys.job(job_id), "state")
        return None if raw is None else raw.decode()

    async def chunks(self, held: Held) -> list[Chunk]:
        """Return all stored output of an attempt, read page by page."""
        found: list[Chunk] = []
        while True:
            after = found[-1].ordinal if found else 0
            answers = await self.connection.run_many(output.pages(self.keys, held.id, held.attempt, after))
            page = output.merged(answers)
            if not page:
                return found
            found += page

    async def length(self, priority: Priority = Priority.NORMAL) -> int:
        """Return the number of entries of a ready stream."""
        length: int = await self.redis.xlen(self.keys.ready(priority))
        return length

    async def pending(self, priority: Priority = Priority.NORMAL) -> list[tuple[str, str]]:
        """Return job (or entry id, if the entry is deleted) and lease of each pending entry of a ready stream."""
        stream = self.keys.ready(priority)
        found = []
        for row in await self.redis.xpending_range(stream, GROUP, "-", "+", 1000):
            entries = await self.redis.xrange(stream, row["message_id"], row["message_id"])
            name = entries[0][1].get(b"id", b"") if entries else row["message_id"]
            found.append((name.decode(), row["consumer"].decode()))
        return found

    async def key_names(self) -> set[str]:
        """Return the queue's keys without its prefix."""
        names = [name.decode() async for name in self.redis.scan_iter(match=f"{self.keys.prefix}*", count=1000)]
        return {name.removeprefix(f"{self.keys.prefix}:") for name in names}

    async def dump(self) -> dict[str, Any]:
        """Return every key of the queue with its content, for comparisons."""
        return {name: await self._content(f"{self.keys.prefix}:{name}") for name in await self.key_names()}

    async def _content(self, key: str) -> Any:
        kind = (await self.redis.type(key)).decode()
        expires = await self.redis.pttl(key) > 0
        match kind:
            case "string":
                return kind, expires, await self.redis.get(key)
            case "hash":
                return kind, expires, await self.redis.hgetall(key)
            case "list":
                return kind, expires, await self.redis.lrange(key, 0, -1)
            case "zset":
                return kind, expires, await self.redis.zrange(key, 0, -1, withscores=True)
            case "stream":
                groups = await self.redis.xinfo_groups(key)
                pending = [await self.redis.xpending_range(key, each["name"], "-", "+", 1000) for each in groups]
                owners = [[(row["message_id"], row["consumer"]) for row in rows] for rows in pending]
                return kind, expires, await self.redis.xrange(key), owners
            case _:
                raise AssertionError(f"{key} is a {kind}")


@asynccontextmanager
async def opened(url: str, keys: QueueKeys, settings: Settings | None = None) -> AsyncIterator[Store]:
    """Connect to a queue."""
    connection = AsyncConnection(url)
    client: Any = redis.asyncio.Redis.from_url(url, protocol=2)
    try:
        yield Store(connection, client, keys, settings or Settings(namespace=keys.namespace))
    finally:
        await client.aclose()
        await connection.aclose()


def a_queue(url: str, keys: QueueKeys, **settings: Any) -> Queue:
    """Return an asynchronous client to open in the test itself: a fixture would close it in another task."""
    return Queue(url, queue=keys.queue, settings=Settings(namespace=keys.namespace, **settings))


def append_facts_to(seen: list[ServerFacts]) -> MeetServer:
    """Return a callback that appends the facts of every new server run to ``seen``."""

    async def note(facts: ServerFacts, _: RunMany) -> None:
        seen.append(facts)

    return note


def a_job_id() -> str:
    return uuid.uuid4().hex[:16]


def a_lease() -> str:
    return f"{uuid.uuid4().hex}.1"


def a_spec(command: Sequence[str | bytes] = ("true",), **options: Any) -> JobSpec:
    return JobSpec(list(command), **options)


def a_long_spec(**options: Any) -> JobSpec:
    """A spec too long for the job's hash, so that it gets its own key."""
    return a_spec(["true", "x" * 64], **options)


LONG_NAME = "n" * 64
"""A user name so long that the history of the jobs gets its own key."""


def an_outcome(state: JobState = JobState.COMPLETED, **facts: Any) -> Outcome:
    code = {"exit_code": 0} if state is JobState.COMPLETED else {}
    usage = {"usage": Usage(0.25, 0.125, 1_048_576)}
    return Outcome(**{"state": state, "cause": CAUSES[state], **code, **usage, **facts})


def a_presence(**facts: object) -> WorkerPresence:
    known = {"id": "w", "name": "worker", "host": "host", "pid": 1, "queues": ("q",), "concurrency": 4}
    return WorkerPresence(**{**known, "running": ("a", "b"), "started_ms": 1, "seen_ms": 2, **facts})  # type: ignore[arg-type]  # each has its field's kind


def a_chunk(
    ordinal: int, data: bytes = b"x", *, stream: OutputStream = OutputStream.STDOUT, offset: int = 0, at_ms: int = 1_000
) -> Chunk:
    return Chunk(ordinal, stream, offset, at_ms, data)
