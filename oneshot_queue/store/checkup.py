"""Examining a broker and its queues, part by part, as calls; with ``mends`` a part is also put right where it can be.

Every script guards what it mends: it changes only what is still so in the same instant.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from oneshot_queue.settings import Settings
from oneshot_queue.spec import Priority
from oneshot_queue.states import JobState
from oneshot_queue.store.calls import Call, pairs, plain, scripted, text
from oneshot_queue.store.keys import GROUP, QueueKeys, presence_key, queues_key
from oneshot_queue.store.retention import keep_failed_ms

PAGE: Final = 100
_LEASES: Final = 1_000


@dataclass(frozen=True, slots=True)
class Find:
    """What a script came across.

    Attributes:
        code: Which kind of find it is.
        subject: The job, entry or lease it is about.
        detail: More about it; empty where there is no more to say.
    """

    code: str
    subject: str
    detail: str
    is_repaired: bool


@dataclass(frozen=True, slots=True)
class Part:
    """A part that was examined.

    Attributes:
        count: How many were looked at; ``PAGE`` if there may be more.
        left: How many of them left, so that the next part begins earlier; of a stream, the last entry.
    """

    count: int
    left: str
    finds: tuple[Find, ...]


@dataclass(frozen=True, slots=True)
class LeaseEnd:
    """A registered lease and its end: as it is stored, and in ms by Redis' clock."""

    id: str
    ends: str

    @property
    def ends_ms(self) -> float:
        """0 if it is condemned."""
        return float(self.ends)


def server_words(*sections: str) -> Call[dict[str, str]]:
    """What the server says of itself, by name."""

    def read(reply: Any) -> dict[str, str]:
        rows = (line.partition(":") for line in text(reply).splitlines())
        return {name: value.strip() for name, colon, value in rows if colon}

    return plain("INFO", *sections, read=read)


def server_setting(name: str) -> Call[str | None]:
    """One of the server's settings; ``None`` if it knows none of that name."""
    return plain("CONFIG", "GET", name, read=lambda reply: text(reply[1]) if len(reply) > 1 else None)


def server_now_ms() -> Call[int]:
    """The time on Redis' clock."""
    return plain("TIME", read=lambda reply: int(reply[0]) * 1000 + int(reply[1]) // 1000)


def kind_of_registry(namespace: str) -> Call[str]:
    """The type of what should be the set of all queues' names."""
    return plain("TYPE", queues_key(namespace), read=text)


def kinds(keys: QueueKeys) -> list[tuple[str, str, Call[str]]]:
    """Every key that a queue has once: its name, the type it should have, and the call that tells which it has."""
    named = {f"ready:{priority}": "stream" for priority in Priority}
    named |= {f"state:{state}": "zset" for state in JobState}
    named |= {"delayed": "zset", "expiring": "zset", "workers": "zset", "terms": "hash", "sweeper": "string"}
    named |= {"epoch": "string", "settling": "string", "kept": "hash", "counters": "hash"}
    named |= {"quarantine": "list", "bell": "list"}
    return [(name, kind, plain("TYPE", f"{keys.prefix}:{name}", read=text)) for name, kind in named.items()]


def group_exists(keys: QueueKeys, priority: Priority) -> Call[bool]:
    """Whether a ready stream, which must be there, has its consumer group."""

    def read(reply: Any) -> bool:
        return any(text(pairs(row)[b"name"]) == GROUP for row in reply)

    return plain("XINFO", "GROUPS", keys.ready(priority), read=read)


def make_group(keys: QueueKeys, priority: Priority) -> Call[None]:
    """Make a ready stream's group; from its beginning, so that nothing that waits is skipped."""
    return plain("XGROUP", "CREATE", keys.ready(priority), GROUP, "0", read=lambda _: None)


def consumers(keys: QueueKeys, priority: Priority) -> Call[list[str]]:
    """In whose names entries of a ready stream were handed out; its group must be there."""

    def read(reply: Any) -> list[str]:
        return [text(pairs(row)[b"name"]) for row in reply]

    return plain("XINFO", "CONSUMERS", keys.ready(priority), GROUP, read=read)


def lease_ends(keys: QueueKeys, start: int) -> Call[list[LeaseEnd]]:
    """At most 1,000 registered leases, those that end first."""

    def read(reply: Any) -> list[LeaseEnd]:
        return [LeaseEnd(text(lease), text(ends)) for lease, ends in zip(reply[::2], reply[1::2], strict=True)]

    return plain("ZRANGE", keys.workers, start, start + _LEASES - 1, "WITHSCORES", read=read)


def lease_lengths(keys: QueueKeys) -> Call[dict[str, str]]:
    """How long each lease is, in ms."""
    return plain("HGETALL", f"{keys.prefix}:terms", read=_texts)


def condemn_unknown(keys: QueueKeys, lease: str) -> Call[int]:
    """Let a lease that is not registered be swept as one that is over; one that is back by now stays as it is."""
    return plain("ZADD", keys.workers, "NX", 0, lease, read=int)


def are_present(namespace: str, worker_ids: Sequence[str]) -> Call[list[bool]]:
    """Of each worker, of one at least, whether there is a sign of life of it, readable or not."""
    names = [presence_key(namespace, each) for each in worker_ids]
    return plain("MGET", *names, read=lambda reply: [raw is not None for raw in reply])


def examine_entries(keys: QueueKeys, priority: Priority, after: str, *, mends: bool) -> Call[Part]:
    """Examine ``PAGE`` entries of a ready stream, behind the entry ``after``, or from the first for ``''``."""
    start = f"({after}" if after else "-"
    return scripted("examine_entries", keys.queue_keys, (priority, start, int(mends)), _part)


def examine_due(keys: QueueKeys, name: str, start: int, *, mends: bool) -> Call[Part]:
    """Examine ``PAGE`` jobs of ``delayed`` or ``expiring``."""
    return scripted("examine_due", keys.queue_keys, (name, start, int(mends)), _part)


def examine_index(keys: QueueKeys, state: JobState, start: int, *, mends: bool, settings: Settings) -> Call[Part]:
    """Examine ``PAGE`` jobs of a state."""
    keep_ms = round(settings.keep_completed_s * 1000) if state is JobState.COMPLETED else keep_failed_ms(settings)
    return scripted("examine_index", keys.queue_keys, (state, start, int(mends), keep_ms), _part)


def count_in(keys: QueueKeys, state: JobState) -> Call[int]:
    """How many jobs an index names."""
    return plain("ZCARD", keys.state(state), read=int)


def kept_rows(keys: QueueKeys, cursor: str) -> Call[tuple[str, list[tuple[bytes, bytes]]]]:
    """Some rows of ``kept``, and the cursor to go on with; ``0`` is both the first and the last."""

    def read(reply: Any) -> tuple[str, list[tuple[bytes, bytes]]]:
        return text(reply[0]), list(pairs(reply[1]).items())

    return plain("HSCAN", f"{keys.prefix}:kept", cursor, "COUNT", 500, read=read)


def kept_count(keys: QueueKeys) -> Call[int]:
    """How many rows ``kept`` has."""
    return plain("HLEN", f"{keys.prefix}:kept", read=int)


def examine_kept(keys: QueueKeys, ids: Sequence[bytes], *, mends: bool) -> Call[Part]:
    """Examine the rows of ``kept`` of these jobs, at most ``PAGE``."""
    return scripted("examine_kept", keys.queue_keys, (int(mends), *ids), _part)


def correct_total(keys: QueueKeys, *, read: str, rows: int, right: int) -> Call[bool]:
    """Put the sum of ``kept`` right; answers false if it is not as it was ``read`` any more."""
    call: Call[bool] = scripted(
        "correct_total", keys.queue_keys, (read, rows, right), lambda reply: bool(reply[0] == b"corrected")
    )
    return call


def counters(keys: QueueKeys) -> Call[dict[str, str]]:
    """The queue's counters."""
    return plain("HGETALL", keys.counters, read=_texts)


def quarantine_length(keys: QueueKeys) -> Call[int]:
    """How many entries were set aside and are still there to be looked at."""
    return plain("LLEN", keys.quarantine, read=int)


def _texts(reply: Any) -> dict[str, str]:
    return {text(name): text(value) for name, value in pairs(reply).items()}


def _part(reply: Any) -> Part:
    finds = tuple(
        Find(text(code), text(subject), text(detail), is_repaired == b"1")
        for code, subject, detail, is_repaired in reply[3:]
    )
    left = reply[2]
    return Part(int(reply[1]), str(left) if isinstance(left, int) else text(left), finds)
