"""The real queue beside the model: its keys in the terms of the model, and a server that can be rolled back."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, TypeVar

import redis

from oneshot_queue.spec import Priority
from oneshot_queue.states import JobState
from oneshot_queue.store.calls import Call, text
from oneshot_queue.store.keys import GROUP, QueueKeys
from oneshot_queue.store.transport.connection import SyncConnection
from tests.properties.clock import remove_clock, set_clock, with_test_clock
from tests.properties.jobs import Job, Row, short
from tests.properties.model import LEASE_S, Model

T = TypeVar("T")

UNFINISHED = frozenset(state for state in JobState if not state.is_final)
SHARED_KEYS = frozenset(
    {"delayed", "expiring", "workers", "terms", "sweeper", "epoch", "settling", "kept", "counters", "bell"}
)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The contents of all keys of a queue."""

    jobs: dict[str, dict[str, Any]]
    streams: dict[str, list[str]]
    pending: dict[str, str]
    states: dict[str, dict[str, float]]
    delayed: dict[str, float]
    expiring: dict[str, float]
    leases: dict[str, float]
    lease_lengths: dict[str, str]
    intents: dict[str, dict[str, int]]
    kept: dict[str, int]
    kept_total: int

    @property
    def tokens(self) -> dict[str, str]:
        return {job_id: job["token"] for job_id, job in self.jobs.items()}


def expected_snapshot(model: Model) -> Snapshot:
    """The snapshot that the model expects."""
    states: dict[str, dict[str, float]] = {}
    for job_id, job in model.jobs.items():
        states.setdefault(job.state.value, {})[job_id] = job.changed_ms
    streams = {priority.value: model.stream(priority) for priority in Priority}
    return Snapshot(
        jobs={job_id: _facts(job) for job_id, job in model.jobs.items()},
        streams={name: ids for name, ids in streams.items() if ids},
        pending=model.pending(),
        states=states,
        delayed=dict(model.delayed),
        expiring=dict(model.expiring),
        leases=dict(model.leases),
        lease_lengths=dict.fromkeys(model.leases, str(round(LEASE_S * 1000))),
        intents={lease: dict(jobs) for lease, jobs in model.intents.items() if jobs},
        kept=dict(model.kept),
        kept_total=sum(model.kept.values()),
    )


def _facts(job: Job) -> dict[str, Any]:
    return {
        "state": job.state.value,
        "attempt": job.attempt,
        # A finished job keeps only the first part of its token.
        "token": short(job.token) if job.state.is_final else job.token,
        "lease": None if job.state.is_final else job.lease,
        "rows": list(job.rows),
        "is_interrupted": job.is_interrupted,
        "is_confirmed": job.is_confirmed,
        "returns": job.returns,
        "bytes": job.bytes,
        "expires": job.state.is_final,
    }


class World:
    """One queue on a server, with direct access to its keys.

    Attributes:
        answers: Scripts and the first words of their replies.
    """

    def __init__(self, url: str, keys: QueueKeys, answers: set[tuple[str, str]]) -> None:
        self.keys = keys
        self.answers = answers
        self.connection = SyncConnection(url)
        self.redis: Any = redis.Redis.from_url(url, protocol=2, decode_responses=True, encoding_errors="replace")
        self._raw: Any = redis.Redis.from_url(url, protocol=2)

    def close(self) -> None:
        if names := self._names():
            self.redis.delete(*names)
        remove_clock(self.redis, self.keys)
        for client in (self.redis, self._raw, self.connection):
            client.close()

    def key(self, name: str) -> str:
        return f"{self.keys.prefix}:{name}"

    def run(self, call: Call[T]) -> T:
        """Run one call."""
        (answer,) = self.connection.run_many([self._with_test_clock(call)])
        if isinstance(answer, Exception):
            raise answer
        done: T = answer
        return done

    def set_clock(self, now_ms: int) -> None:
        """Set the time for all scripts."""
        set_clock(self.redis, self.keys, now_ms)

    def _with_test_clock(self, call: Call[T]) -> Call[T]:
        script = call.script
        if script is None:
            return call

        def read(reply: Any) -> T:
            self.answers.add((script.name, text(reply[0])))
            return call.read(reply)

        return replace(call, script=with_test_clock(script), read=read)

    def look(self) -> Snapshot:
        """Read all keys."""
        names = sorted(name.removeprefix(f"{self.keys.prefix}:") for name in self._names())
        own = {kind: [name.partition(":")[2] for name in names if name.startswith(f"{kind}:")] for kind in _KINDS}
        unknown = [name for name in names if name not in SHARED_KEYS and name.partition(":")[0] not in own]
        assert unknown == [], "unknown keys"
        pipe = self.redis.pipeline(transaction=False)
        for job_id in own["job"]:
            pipe.hgetall(self.keys.job(job_id)).get(self.keys.text(job_id)).pttl(self.keys.job(job_id))
        for priority in own["ready"]:
            pipe.xrange(self.key(f"ready:{priority}"))
            pipe.xpending_range(self.key(f"ready:{priority}"), GROUP, "-", "+", 1000)
        for state in own["state"]:
            pipe.zrange(self.key(f"state:{state}"), 0, -1, withscores=True)
        for lease in own["intents"]:
            pipe.hgetall(self.keys.intents(lease))
        for name in ("delayed", "expiring", "workers"):
            pipe.zrange(self.key(name), 0, -1, withscores=True)
        pipe.hgetall(self.key("terms"))
        pipe.hgetall(self.key("kept")).hgetall(self.keys.counters).llen(self.keys.bell)
        answers = iter(pipe.execute(raise_on_error=False))
        jobs = {job_id: _read(next(answers), next(answers), next(answers)) for job_id in own["job"]}
        streams, pending = {}, {}
        for priority in own["ready"]:
            entries = {entry: fields["id"] for entry, fields in next(answers)}
            held = next(answers)
            streams[priority] = list(entries.values())
            for row in [] if isinstance(held, redis.ResponseError) else held:  # no group yet
                pending[entries.get(row["message_id"], row["message_id"])] = row["consumer"]
        states = {state: dict(next(answers)) for state in own["state"]}
        intents = {lease: next(answers) for lease in own["intents"]}
        delayed, expiring, workers, lease_lengths, kept, counters, rings = answers
        assert rings <= 64
        assert set(counters) <= {"kept"}, "an entry was set aside"
        for kind in ("spec", "text", "stdin"):
            assert set(own[kind]) <= set(jobs)
        return Snapshot(
            jobs=jobs,
            streams={name: ids for name, ids in streams.items() if ids},
            pending=pending,
            states=states,
            delayed=dict(delayed),
            expiring=dict(expiring),
            leases=dict(workers),
            lease_lengths=lease_lengths,
            intents={
                lease: {each: int(raw.partition(" ")[0]) for each, raw in rows.items()}
                for lease, rows in intents.items()
            },
            kept={job_id: int(size) for job_id, size in kept.items()},
            kept_total=int(counters.get("kept", 0)),
        )

    def save(self) -> dict[bytes, tuple[int, bytes]]:
        """Copy every key."""
        names = self._raw.keys(f"{self.keys.prefix}*")
        pipe = self._raw.pipeline(transaction=False)
        for name in names:
            pipe.pttl(name).dump(name)
        answers = iter(pipe.execute())
        return {name: (max(next(answers), 0), next(answers)) for name in names}

    def roll_back(self, copy: dict[bytes, tuple[int, bytes]]) -> None:
        """Restore the keys from a copy."""
        pipe = self._raw.pipeline(transaction=False)
        for name in self._raw.keys(f"{self.keys.prefix}*"):
            pipe.delete(name)
        for name, (ttl_ms, value) in copy.items():
            pipe.restore(name, ttl_ms, value)
        pipe.execute()

    def _names(self) -> list[str]:
        names: list[str] = self.redis.keys(f"{self.keys.prefix}*")
        return names


_KINDS = ("job", "spec", "text", "stdin", "output", "ready", "state", "intents")


def _read(fields: dict[str, str], lines: str | None, ttl_ms: int) -> dict[str, Any]:
    rows = [_log_row(line, int(fields["created"])) for line in fields.get("log", "").splitlines()]
    return {
        "state": fields["state"],
        "attempt": int(fields["attempt"]),
        "token": fields.get("token", ""),
        "lease": fields.get("lease"),
        "rows": rows + [_row(line) for line in (lines or "").splitlines() if not line.startswith("!")],
        "is_interrupted": "interrupt" in fields,
        "is_confirmed": fields.get("confirmed") != "0",
        "returns": int(fields.get("returns", 0)),
        "bytes": int(fields.get("bytes", 0)),
        "expires": ttl_ms > 0,
    }


def _log_row(line: str, created_ms: int) -> Row:
    since, cause, *_ = [*line.split("\t"), ""]
    state = {"c": "CREATED", "r": "RUNNING", "i": "IDLE", "I": "INTERRUPTED", "C": "COMPLETED", "F": "FAILED"}[since[0]]
    return Row(created_ms + int(since[1:]), 1, JobState(state), cause or None)


def _row(line: str) -> Row:
    at_ms, attempt, state, cause, *_ = line.split("\t")
    return Row(int(at_ms), int(attempt), JobState(state), cause or None)
