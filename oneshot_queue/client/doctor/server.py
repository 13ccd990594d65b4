"""The checks of the server itself: its version, memory, persistence, replication and clock."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, TypeVar

from oneshot_queue.client.doctor.advisories import advisories_of
from oneshot_queue.client.doctor.findings import Report, Severity
from oneshot_queue.client.effects import Context, RunCalls, Verb, run_call
from oneshot_queue.errors import BrokerError, BrokerRefused
from oneshot_queue.store import checkup
from oneshot_queue.store.calls import Call
from oneshot_queue.store.transport.server_facts import read_facts, version_problem

NOTED_SKEW_S: Final = 1.0
BAD_SKEW_S: Final = 30.0
MIN_UPTIME_S: Final = 60.0
"""Workers may take this long to report back to a server that was down."""
_NEARLY_FULL: Final = 0.9
_LAST_WRITES: Final = {
    "aof_last_write_status": "the last write to the AOF",
    "aof_last_bgrewrite_status": "the last rewrite of the AOF",
    "rdb_last_bgsave_status": "the last snapshot",
}

T = TypeVar("T")
Info = Mapping[str, str]
"""The fields that the server reports with ``INFO``, by name."""


def examine_server(context: Context, report: Report) -> Verb[None]:
    """Examine the server that answers; in a cluster, one node."""
    info = yield from _if_allowed(checkup.server_info(), report, "INFO")
    if info is not None:
        examine_version(info, report)
        examine_memory(info, report)
        fsync = yield from _if_allowed(checkup.server_setting("appendfsync"), report, "CONFIG GET appendfsync")
        save = yield from _if_allowed(checkup.server_setting("save"), report, "CONFIG GET save")
        examine_persistence(info, fsync, save, report)
        examine_replication(info, report)
    before_ms = context.clock.now_ms()
    server_ms = yield from run_call(checkup.server_now_ms())
    examine_clocks(before_ms, server_ms, context.clock.now_ms(), report)


def has_been_up_long_enough() -> Verb[bool]:
    """Whether the server has been up long enough for all live workers to report back.

    Leases and presences expire while the server is down. Directly after a restart, all workers look lost.
    """
    (info,) = yield RunCalls([checkup.server_info("server")])
    if isinstance(info, BrokerRefused):
        return False
    if isinstance(info, BrokerError):
        raise info
    return (_number(info, "uptime_in_seconds") or 0) >= MIN_UPTIME_S


def examine_version(info: Info, report: Report) -> None:
    """Check the version against the required one and against known advisories."""
    is_valkey = info.get("server_name") == "valkey"
    name, number = ("Valkey", "valkey_version") if is_valkey else ("Redis", "redis_version")
    if problem := version_problem(read_facts([f"redis_version:{info.get('redis_version', '')}"])):
        report.add("old-version", name, problem)
    facts = read_facts([f"redis_version:{info.get(number, '')}"])
    if facts.version is None:
        report.add("server-silent", "server", "the server's version")
        return
    shown = f"{name} {info[number]}"
    for advisory in advisories_of(facts.version, is_valkey=is_valkey):
        code = "known-fault" if advisory.is_fault_only else "known-hole"
        report.add(code, advisory.name, f"{shown}: {advisory.text}")


def examine_memory(info: Info, report: Report) -> None:
    """Check whether the server evicts keys, or is short of memory."""
    policy = info.get("maxmemory_policy")
    if policy is not None and policy != "noeviction":
        report.add("evicts", "maxmemory-policy", policy)
    used, limit = _number(info, "used_memory"), _number(info, "maxmemory")
    if used is not None and limit and used >= _NEARLY_FULL * limit:
        code = "memory-full" if used >= limit else "memory-short"
        report.add(code, "maxmemory", f"{100 * used // limit}%")


def examine_persistence(info: Info, fsync: str | None, save: str | None, report: Report) -> None:
    """Check what a crash would lose, and whether the server can write to disk."""
    match info.get("aof_enabled"):
        case "1" if fsync == "no":
            report.add("slow-sync", "appendfsync", fsync)
        case "1" if fsync == "everysec":
            report.add("loss-window", "appendfsync")
        case "0" if save == "":
            report.add("no-persistence", "appendonly")
        case "0":
            changes = _number(info, "rdb_changes_since_last_save")
            report.add("snapshots-only", "appendonly", "" if changes is None else f"; {changes} changes since the last")
    for name, what in _LAST_WRITES.items():
        if info.get(name, "ok") != "ok":
            report.add("write-failed", name, what)


def examine_replication(info: Info, report: Report) -> None:
    """Check that the server is a primary, and what a failover may lose."""
    if info.get("role") == "slave":
        report.add("is-replica", "role")
    elif replicas := _number(info, "connected_slaves"):
        good = _number(info, "min_slaves_good_slaves")
        fresh = "min-replicas-to-write is not set" if good is None else f"{good} within min-replicas-max-lag"
        report.add("replicas", "replication", f"connected replicas: {replicas}; {fresh}")


def examine_clocks(before_ms: int, server_ms: int, after_ms: int, report: Report) -> None:
    """Compare this machine's clock, read before and after, with the clock of Redis. All times are ms since 1970."""
    apart_s = max(0, before_ms - server_ms, server_ms - after_ms) / 1000
    if apart_s > NOTED_SKEW_S:
        severity = Severity.PROBLEM if apart_s > BAD_SKEW_S else Severity.INFO
        report.add("clock-apart", "clock", f"{apart_s:.1f} s", severity=severity)


def _if_allowed(call: Call[T], report: Report, what: str) -> Verb[T | None]:
    """Run a call that the ACL may forbid. If it does, add that this was not examined, and return ``None``."""
    (answer,) = yield RunCalls([call])
    if isinstance(answer, BrokerRefused):
        report.add("server-silent", what, what)
        return None
    if isinstance(answer, BrokerError):
        raise answer
    found: T = answer
    return found


def _number(info: Info, name: str) -> int | None:
    value = info.get(name, "")
    return int(value) if value.isascii() and value.isdigit() else None
