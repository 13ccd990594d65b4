"""What is to be said of the server itself: what it is, what it keeps, and whether its clock is ours."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, TypeVar

from oneshot_queue.client.doctor.advisories import advisories_of
from oneshot_queue.client.doctor.findings import Notebook, Severity
from oneshot_queue.client.effects import Ask, Context, Verb, ask
from oneshot_queue.errors import BrokerError, BrokerRefused
from oneshot_queue.store import checkup
from oneshot_queue.store.calls import Call
from oneshot_queue.store.transport.server_facts import read_facts, version_problem

NOTED_SKEW_S: Final = 1.0
BAD_SKEW_S: Final = 30.0
RETURN_S: Final = 60.0
"""How long workers may take to come back to a server that was away."""
_FULL: Final = 0.9
_LAST_WRITES: Final = {
    "aof_last_write_status": "the last write to the AOF",
    "aof_last_bgrewrite_status": "the last rewriting of the AOF",
    "rdb_last_bgsave_status": "the last snapshot",
}

T = TypeVar("T")
Words = Mapping[str, str]


def examine_server(context: Context, notebook: Notebook) -> Verb[None]:
    """Examine the server that answers; of a cluster, one node."""
    said = yield from _if_allowed(checkup.server_info(), notebook, "anything about itself")
    if said is not None:
        examine_version(said, notebook)
        examine_memory(said, notebook)
        fsync = yield from _if_allowed(checkup.server_setting("appendfsync"), notebook, "when it writes to disk")
        save = yield from _if_allowed(checkup.server_setting("save"), notebook, "when it makes snapshots")
        examine_persistence(said, fsync, save, notebook)
        examine_replication(said, notebook)
    before_ms = context.clock.now_ms()
    server_ms = yield from ask(checkup.server_now_ms())
    examine_clocks(before_ms, server_ms, context.clock.now_ms(), notebook)


def has_been_up() -> Verb[bool]:
    """Whether the server has been up for so long that every worker which lives has been able to say so again.

    Leases and signs of life run out while it is down. Right after it is back, all look lost.
    """
    (said,) = yield Ask([checkup.server_info("server")])
    if isinstance(said, BrokerRefused):
        return False
    if isinstance(said, BrokerError):
        raise said
    return (_number(said, "uptime_in_seconds") or 0) >= RETURN_S


def examine_version(said: Words, notebook: Notebook) -> None:
    """Hold its version against what we need, and against the holes that are known."""
    is_valkey = said.get("server_name") == "valkey"
    name, number = ("Valkey", "valkey_version") if is_valkey else ("Redis", "redis_version")
    if problem := version_problem(read_facts([f"redis_version:{said.get('redis_version', '')}"])):
        notebook.note("old-version", name, problem)
    facts = read_facts([f"redis_version:{said.get(number, '')}"])
    if facts.version is None:
        notebook.note("server-silent", "server", "its version")
        return
    shown = f"{name} {said[number]}"
    for hole in advisories_of(facts.version, is_valkey=is_valkey):
        code = "known-fault" if hole.is_fault_only else "known-hole"
        notebook.note(code, hole.name, f"{shown}: {hole.text}")


def examine_memory(said: Words, notebook: Notebook) -> None:
    """See whether it throws jobs away, or soon has no room for more."""
    policy = said.get("maxmemory_policy")
    if policy is not None and policy != "noeviction":
        notebook.note("evicts", "maxmemory-policy", policy)
    used, most = _number(said, "used_memory"), _number(said, "maxmemory")
    if used is not None and most and used >= _FULL * most:
        code = "memory-full" if used >= most else "memory-short"
        notebook.note(code, "maxmemory", f"{100 * used // most} %")


def examine_persistence(said: Words, fsync: str | None, save: str | None, notebook: Notebook) -> None:
    """Say what a crash would lose, and whether writing to disk works."""
    match said.get("aof_enabled"):
        case "1" if fsync == "no":
            notebook.note("slow-sync", "appendfsync", fsync)
        case "1" if fsync == "everysec":
            notebook.note("loss-window", "appendfsync")
        case "0" if save == "":
            notebook.note("no-persistence", "appendonly")
        case "0":
            changes = _number(said, "rdb_changes_since_last_save")
            notebook.note("snapshots-only", "appendonly", "" if changes is None else f"; {changes} changes since")
    for name, what in _LAST_WRITES.items():
        if said.get(name, "ok") != "ok":
            notebook.note("write-failed", name, what)


def examine_replication(said: Words, notebook: Notebook) -> None:
    """Say whether it is a primary, and what a failover may lose."""
    if said.get("role") == "slave":
        notebook.note("is-replica", "role")
    elif replicas := _number(said, "connected_slaves"):
        good = _number(said, "min_slaves_good_slaves")
        needed = "writes wait for none" if good is None else f"{good} close enough for min-replicas-to-write"
        notebook.note("replicas", "replication", f"has {replicas} replicas; {needed}")


def examine_clocks(before_ms: int, server_ms: int, after_ms: int, notebook: Notebook) -> None:
    """Hold this machine's clock, read before and after, against Redis' clock."""
    apart_s = max(0, before_ms - server_ms, server_ms - after_ms) / 1000
    if apart_s > NOTED_SKEW_S:
        severity = Severity.PROBLEM if apart_s > BAD_SKEW_S else Severity.INFO
        notebook.note("clock-apart", "clock", f"{apart_s:.1f} s", severity=severity)


def _if_allowed(call: Call[T], notebook: Notebook, what: str) -> Verb[T | None]:
    """Ask something that a user may be forbidden to ask; then it is noted that it was not examined."""
    (answer,) = yield Ask([call])
    if isinstance(answer, BrokerRefused):
        notebook.note("server-silent", what, what)
        return None
    if isinstance(answer, BrokerError):
        raise answer
    found: T = answer
    return found


def _number(said: Words, name: str) -> int | None:
    value = said.get(name, "")
    return int(value) if value.isascii() and value.isdigit() else None
