"""Calls of the doctor: they examine a server and its queues page by page, and with ``repairs`` repair what is safe.

Each script checks and repairs in one step, so it only changes what is still wrong at that moment.
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
class Anomaly:
    """Something wrong that a script found.

    Attributes:
        code: Which kind of anomaly it is.
        subject: The job, entry or lease that it concerns.
        detail: Further information, or empty.
    """

    code: str
    subject: str
    detail: str
    is_repaired: bool


@dataclass(frozen=True, slots=True)
class ExaminedPage:
    """One examined page of an index, a stream or a hash.

    Attributes:
        count: How many members were examined; ``PAGE`` if there may be more.
        left: How many of them were removed, so that the next page starts earlier; of a stream, its last entry's id.
    """

    count: int
    left: str
    anomalies: tuple[Anomaly, ...]


@dataclass(frozen=True, slots=True)
class LeaseEnd:
    """A registered lease and its end, as stored."""

    id: str
    ends: str

    @property
    def ends_ms(self) -> float:
        """The end in ms on Redis' clock; 0 if the lease is condemned."""
        return float(self.ends)


def server_info(*sections: str) -> Call[dict[str, str]]:
    """Read the fields of INFO by name."""

    def read(reply: Any) -> dict[str, str]:
        rows = (line.partition(":") for line in text(reply).splitlines())
        return {name: value.strip() for name, colon, value in rows if colon}

    return plain("INFO", *sections, read=read)


def server_setting(name: str) -> Call[str | None]:
    """Read one of the server's settings; ``None`` if it has none of that name."""
    return plain("CONFIG", "GET", name, read=lambda reply: text(reply[1]) if len(reply) > 1 else None)


def server_now_ms() -> Call[int]:
    """Read the time on Redis' clock in ms."""
    return plain("TIME", read=lambda reply: int(reply[0]) * 1000 + int(reply[1]) // 1000)


def kind_of_registry(namespace: str) -> Call[str]:
    """Read the type of the key that should be the set of all queue names."""
    return plain("TYPE", queues_key(namespace), read=text)


def kinds(keys: QueueKeys) -> list[tuple[str, str, Call[str]]]:
    """Return each key that a queue has once: its name, its expected type, and the call that reads its actual type."""
    named = {f"ready:{priority}": "stream" for priority in Priority}
    named |= {f"state:{state}": "zset" for state in JobState}
    named |= {"delayed": "zset", "expiring": "zset", "workers": "zset", "terms": "hash", "sweeper": "string"}
    named |= {"epoch": "string", "settling": "string", "kept": "hash", "counters": "hash"}
    named |= {"quarantine": "list", "bell": "list"}
    return [(name, kind, plain("TYPE", f"{keys.prefix}:{name}", read=text)) for name, kind in named.items()]


def group_exists(keys: QueueKeys, priority: Priority) -> Call[bool]:
    """Whether a ready stream has its consumer group; the stream must exist."""

    def read(reply: Any) -> bool:
        return any(text(pairs(row)[b"name"]) == GROUP for row in reply)

    return plain("XINFO", "GROUPS", keys.ready(priority), read=read)


def make_group(keys: QueueKeys, priority: Priority) -> Call[None]:
    """Create a ready stream's group at its beginning, so that no waiting job is skipped."""
    return plain("XGROUP", "CREATE", keys.ready(priority), GROUP, "0", read=lambda _: None)


def consumers(keys: QueueKeys, priority: Priority) -> Call[list[str]]:
    """Read the consumers of a ready stream, which are leases; its group must exist."""

    def read(reply: Any) -> list[str]:
        return [text(pairs(row)[b"name"]) for row in reply]

    return plain("XINFO", "CONSUMERS", keys.ready(priority), GROUP, read=read)


def lease_ends(keys: QueueKeys, start: int) -> Call[list[LeaseEnd]]:
    """Read at most 1,000 registered leases, in order of their ends, from rank ``start``."""

    def read(reply: Any) -> list[LeaseEnd]:
        return [LeaseEnd(text(lease), text(ends)) for lease, ends in zip(reply[::2], reply[1::2], strict=True)]

    return plain("ZRANGE", keys.workers, start, start + _LEASES - 1, "WITHSCORES", read=read)


def lease_lengths(keys: QueueKeys) -> Call[dict[str, str]]:
    """Read the length of each lease in ms, as stored."""
    return plain("HGETALL", keys.lease_lengths, read=_texts)


def condemn_unknown(keys: QueueKeys, lease: str) -> Call[int]:
    """Register an unknown lease as condemned, so that it is swept; one that is registered again stays unchanged."""
    return plain("ZADD", keys.workers, "NX", 0, lease, read=int)


def are_present(namespace: str, worker_ids: Sequence[str]) -> Call[list[bool]]:
    """Read for each worker whether its presence exists, readable or not; needs at least one id."""
    names = [presence_key(namespace, each) for each in worker_ids]
    return plain("MGET", *names, read=lambda reply: [raw is not None for raw in reply])


def examine_entries(keys: QueueKeys, priority: Priority, after: str, *, repairs: bool) -> Call[ExaminedPage]:
    """Examine ``PAGE`` entries of a ready stream, after the entry ``after``; ``''`` starts at the first."""
    start = f"({after}" if after else "-"
    return scripted("examine_entries", keys.queue_keys, (priority, start, int(repairs)), _read_page)


def examine_due(keys: QueueKeys, name: str, start: int, *, repairs: bool) -> Call[ExaminedPage]:
    """Examine ``PAGE`` jobs of ``delayed`` or ``expiring``, from rank ``start``."""
    return scripted("examine_due", keys.queue_keys, (name, start, int(repairs)), _read_page)


def examine_index(
    keys: QueueKeys, state: JobState, start: int, *, repairs: bool, settings: Settings
) -> Call[ExaminedPage]:
    """Examine ``PAGE`` jobs of a state, from rank ``start``."""
    keep_ms = round(settings.keep_completed_s * 1000) if state is JobState.COMPLETED else keep_failed_ms(settings)
    return scripted("examine_index", keys.queue_keys, (state, start, int(repairs), keep_ms), _read_page)


def count_in(keys: QueueKeys, state: JobState) -> Call[int]:
    """Read how many jobs a state's index has."""
    return plain("ZCARD", keys.state(state), read=int)


def kept_rows(keys: QueueKeys, cursor: str) -> Call[tuple[str, list[tuple[bytes, bytes]]]]:
    """Read some rows of ``kept``, and the cursor to continue with; ``0`` starts, and is returned with the last rows."""

    def read(reply: Any) -> tuple[str, list[tuple[bytes, bytes]]]:
        return text(reply[0]), list(pairs(reply[1]).items())

    return plain("HSCAN", keys.kept, cursor, "COUNT", 500, read=read)


def kept_count(keys: QueueKeys) -> Call[int]:
    """Read how many rows ``kept`` has."""
    return plain("HLEN", keys.kept, read=int)


def examine_kept(keys: QueueKeys, ids: Sequence[bytes], *, repairs: bool) -> Call[ExaminedPage]:
    """Examine the rows of ``kept`` for these jobs, at most ``PAGE``."""
    return scripted("examine_kept", keys.queue_keys, (int(repairs), *ids), _read_page)


def correct_total(keys: QueueKeys, *, read: str, rows: int, right: int) -> Call[bool]:
    """Replace the sum of ``kept``; answers false if the sum is no longer ``read``, or there are not ``rows`` rows."""
    call: Call[bool] = scripted(
        "correct_total", keys.queue_keys, (read, rows, right), lambda reply: bool(reply[0] == b"corrected")
    )
    return call


def counters(keys: QueueKeys) -> Call[dict[str, str]]:
    """Read the queue's counters, as stored."""
    return plain("HGETALL", keys.counters, read=_texts)


def quarantine_length(keys: QueueKeys) -> Call[int]:
    """Read how many entries are in quarantine."""
    return plain("LLEN", keys.quarantine, read=int)


def _texts(reply: Any) -> dict[str, str]:
    return {text(name): text(value) for name, value in pairs(reply).items()}


def _read_page(reply: Any) -> ExaminedPage:
    anomalies = tuple(
        Anomaly(text(code), text(subject), text(detail), is_repaired == b"1")
        for code, subject, detail, is_repaired in reply[3:]
    )
    left = reply[2]
    return ExaminedPage(int(reply[1]), str(left) if isinstance(left, int) else text(left), anomalies)
