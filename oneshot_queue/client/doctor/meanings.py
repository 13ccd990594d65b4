"""The kinds of findings: what was found, what it means, and what to do about it. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class FindingKind:
    """The texts of one kind of finding. Their subject is the finding's own subject: a job, lease, key or server.

    Attributes:
        severity: info, warning or problem.
        what: What was found; ``{detail}`` is replaced by the finding's detail.
        meaning: What that means for jobs.
        advice: What to do.
        is_repairable: Whether it is safe to repair automatically.
    """

    severity: str
    what: str
    meaning: str
    advice: str
    is_repairable: bool = False


_REPAIRED: Final = "--repair fixes it"
_SETTLED: Final = "--repair settles it if the worker gives no sign of life and the server has been up for a minute"
_INSPECT: Final = "inspect it by hand; it is never overwritten"
_UPGRADE: Final = "upgrade the server"
_FIND_WRITER: Final = "find out which other program writes to this server"
_MAKE_ROOM: Final = "raise maxmemory, or shorten the retention of finished jobs"

_SERVER: Final = {
    "server-silent": FindingKind(
        "info", "cannot read {detail}", "this was not examined", "allow this user to run INFO and CONFIG GET"
    ),
    "old-version": FindingKind("problem", "{detail}", "the server lacks commands that every job needs", _UPGRADE),
    "known-hole": FindingKind(
        "warning",
        "{detail}",
        "any client that can run commands may exploit it",
        f"{_UPGRADE}, unless your distribution backported the fix",
    ),
    "known-fault": FindingKind("info", "{detail}", "oneshot-queue avoids the affected command", _UPGRADE),
    "evicts": FindingKind(
        "problem",
        "maxmemory-policy is {detail}",
        "when memory is full, the server silently evicts jobs",
        "CONFIG SET maxmemory-policy noeviction",
    ),
    "memory-short": FindingKind(
        "warning",
        "{detail} of maxmemory is used",
        "new jobs will soon be refused; running jobs can still finish",
        _MAKE_ROOM,
    ),
    "memory-full": FindingKind(
        "problem", "{detail} of maxmemory is used", "new jobs are refused; running jobs can still finish", _MAKE_ROOM
    ),
    "no-persistence": FindingKind(
        "problem", "AOF and snapshots are off", "a restart loses all jobs", "CONFIG SET appendonly yes"
    ),
    "snapshots-only": FindingKind(
        "warning",
        "AOF is off, snapshots only{detail}",
        "a crash loses everything written since the last snapshot",
        "CONFIG SET appendonly yes",
    ),
    "slow-sync": FindingKind(
        "warning",
        "appendfsync is {detail}",
        "if the machine crashes, about the last 30 seconds of writes may be lost",
        "CONFIG SET appendfsync everysec",
    ),
    "loss-window": FindingKind(
        "info",
        "appendfsync is everysec",
        "if the machine crashes, the last second of writes may be lost",
        "no action; be aware",
    ),
    "write-failed": FindingKind(
        "problem",
        "{detail} failed",
        "the server may be unable to write to disk",
        "check its log and its free disk space",
    ),
    "replicas": FindingKind(
        "info",
        "{detail}",
        "a failover may lose writes that the replicas have not received",
        "to limit the loss, set min-replicas-to-write and min-replicas-max-lag",
    ),
    "is-replica": FindingKind("problem", "the server is a replica", "it accepts no writes", "connect to the primary"),
    "clock-apart": FindingKind(
        "info",
        "this machine's clock and the clock of Redis differ by {detail}",
        "times shown here are shifted; leases are not affected",
        "synchronize the clocks",
    ),
}

_QUEUE: Final = {
    "wrong-type": FindingKind(
        "problem", "{detail}", "another program wrote to this key; parts of the queue do not work", _INSPECT
    ),
    "damaged": FindingKind(
        "problem", "cannot be examined: {detail}", "the queue holds data that oneshot-queue did not write", _INSPECT
    ),
    "unreadable-job": FindingKind(
        "problem",
        "{detail} cannot be read",
        "no worker can start the job, and it may never end",
        f"{_FIND_WRITER}; {_INSPECT}",
    ),
    "queue-name": FindingKind("warning", "not a valid queue name", "no client can reach it", _FIND_WRITER),
    "empty-queue": FindingKind("info", "has no jobs and no workers", "this is harmless", "no action"),
    "unserved": FindingKind(
        "warning",
        "{detail}",
        "no live worker serves this queue: its jobs will not start, come due or expire",
        "start a worker: oneshot-queue worker -q QUEUE",
    ),
    "no-group": FindingKind(
        "info", "has no consumer group yet", "the next claim creates it", _REPAIRED, is_repairable=True
    ),
    "stray-entry": FindingKind(
        "warning",
        "an entry of the {detail} stream names no job",
        "the next claim moves it to the quarantine",
        f"--repair moves it to the quarantine; {_FIND_WRITER}",
        is_repairable=True,
    ),
    "entry-without-job": FindingKind(
        "problem",
        "stream entry {detail} names this job, but the job is gone",
        "the job's record was lost",
        _REPAIRED,
        is_repairable=True,
    ),
    "entry-too-many": FindingKind(
        "warning",
        "stream entry {detail} is not the job's own entry",
        "the queue looks longer than it is",
        _REPAIRED,
        is_repairable=True,
    ),
    "job-in-no-index": FindingKind(
        "problem",
        "its state is {detail}, but the index of that state does not list it",
        "listings and sweepers do not see it",
        _REPAIRED,
        is_repairable=True,
    ),
    "index-ghost": FindingKind(
        "warning", "an index lists it, but the job is {detail}", "counts are too high", _REPAIRED, is_repairable=True
    ),
    "job-without-entry": FindingKind(
        "problem",
        "waits, but no stream entry leads a worker to it",
        "it does not start until a worker audits the queue",
        f"{_REPAIRED}: the job moves to the end of its stream",
        is_repairable=True,
    ),
    "delayed-without-due": FindingKind(
        "warning",
        "delayed, but its record has no due time",
        "`show` cannot say when it is due",
        _REPAIRED,
        is_repairable=True,
    ),
    "delay-forgotten": FindingKind(
        "problem",
        "has a due time, but is not in the set of delayed jobs",
        "it would start too early",
        _REPAIRED,
        is_repairable=True,
    ),
    "expiry-forgotten": FindingKind(
        "problem",
        "has an expiry time, but is not in the set of expiring jobs",
        "it may start after it should have expired",
        _REPAIRED,
        is_repairable=True,
    ),
    "delayed-ghost": FindingKind(
        "warning",
        "in the set of delayed jobs, but the job is {detail}",
        "counts are too high",
        _REPAIRED,
        is_repairable=True,
    ),
    "expiring-ghost": FindingKind(
        "warning",
        "in the set of expiring jobs, but the job is {detail}",
        "the set has a row too many",
        _REPAIRED,
        is_repairable=True,
    ),
    "running-without-lease": FindingKind(
        "problem",
        "runs under lease {detail}, which no worker holds",
        "its worker is dead, or has not reported back yet",
        f"a live worker settles it within a minute; {_SETTLED}",
    ),
    "running-without-entry": FindingKind(
        "problem",
        "runs under lease {detail}, but its stream entry is not pending there",
        "if its worker died, the job would be settled late",
        _REPAIRED,
        is_repairable=True,
    ),
    "survivors": FindingKind(
        "problem",
        "{detail} of its processes survived SIGKILL",
        "they may still use resources of their host",
        "check them on that host; they cannot be ended from here",
    ),
    "unconfirmed": FindingKind(
        "info",
        "was settled without its worker",
        "if the worker comes back, it ends what is left of the job",
        "no action; if the worker stays away, check its host",
    ),
    "lasting-job": FindingKind(
        "warning",
        "has ended, but {detail} of its keys never expire",
        "they use memory for ever",
        _REPAIRED,
        is_repairable=True,
    ),
    "lease-over": FindingKind(
        "warning",
        "expired {detail} ago",
        "its worker is gone; a live worker settles its jobs",
        f"start a worker; once it has been expired for a full lease, {_SETTLED}",
    ),
    "lease-condemned": FindingKind(
        "warning",
        "its jobs are being settled",
        "a sweeper is working on it, or died before it finished",
        "--repair finishes it",
    ),
    "lease-unknown": FindingKind(
        "warning", "not registered, but still in use: {detail}", "jobs pending under it go to no worker", _SETTLED
    ),
    "total-wrong": FindingKind(
        "warning",
        "the recorded total of stored output is wrong: {detail}",
        "finished jobs are dropped too early or too late",
        _REPAIRED,
        is_repairable=True,
    ),
    "kept-ghost": FindingKind(
        "warning",
        "its output is counted, but the job is gone",
        "finished jobs are dropped too early",
        _REPAIRED,
        is_repairable=True,
    ),
    "counter-wrong": FindingKind("problem", "{detail}", "scripts that use this counter fail", _INSPECT),
    "malformed": FindingKind(
        "info", "{detail} entries were moved to the quarantine", "they named no readable job", _FIND_WRITER
    ),
    "quarantine": FindingKind(
        "info",
        "{detail} entries are in the quarantine",
        "the newest 1,000 are kept for inspection",
        "LRANGE shows them, DEL removes them",
    ),
}

_MACHINE: Final = {
    "dead-worker": FindingKind(
        "info",
        "died on this machine; its journal is still here",
        "the next worker ends its leftover processes and settles its jobs",
        "start a worker for the same broker",
    ),
    "waiting-spool": FindingKind(
        "warning",
        "died on this machine with results that Redis had not accepted",
        "until they are recorded, those jobs look lost",
        "start a worker for the same broker; it records them",
    ),
}

KINDS: Final[dict[str, FindingKind]] = {**_SERVER, **_MACHINE, **_QUEUE}
