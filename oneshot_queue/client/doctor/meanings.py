"""What each kind of finding means, and what to do about it. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of finding.

    Attributes:
        severity: info, warning or problem.
        what: What was found; ``{detail}`` stands for more about it.
        is_mendable: Whether it can be mended without a guess.
    """

    severity: str
    what: str
    meaning: str
    advice: str
    is_mendable: bool = False


_REPAIRED: Final = "--repair mends it"
_JUDGED: Final = "--repair decides if its worker gives no sign of life, and the server has been up for a minute"
_LOOK: Final = "look at it by hand; it is never overwritten"
_UPGRADE: Final = "upgrade the server"
_WHO_WRITES: Final = "find out who else writes to this server"

_SERVER: Final = {
    "server-silent": Kind(
        "info", "does not say {detail}", "this was not examined", "let this user run INFO and CONFIG GET"
    ),
    "old-version": Kind("problem", "{detail}", "it lacks commands that every job needs", _UPGRADE),
    "known-hole": Kind(
        "warning",
        "{detail}",
        "who may run a command on it may do worse",
        f"{_UPGRADE}, unless its packager closed the hole without a new number",
    ),
    "known-fault": Kind("info", "{detail}", "oneshot-queue does without what is faulty", _UPGRADE),
    "evicts": Kind(
        "problem",
        "maxmemory-policy is {detail}",
        "it throws jobs away without a word",
        "CONFIG SET maxmemory-policy noeviction",
    ),
    "memory-short": Kind(
        "warning",
        "{detail} of maxmemory are used",
        "soon nothing more can be enqueued; what runs can still end",
        "raise maxmemory, or keep finished jobs for a shorter time",
    ),
    "memory-full": Kind(
        "problem",
        "{detail} of maxmemory are used",
        "nothing more can be enqueued; what runs can still end",
        "raise maxmemory, or keep finished jobs for a shorter time",
    ),
    "no-persistence": Kind(
        "problem", "writes nothing to disk", "a restart loses every job", "CONFIG SET appendonly yes"
    ),
    "snapshots-only": Kind(
        "warning",
        "no AOF, only snapshots{detail}",
        "a crash loses whatever was written since the last one",
        "CONFIG SET appendonly yes",
    ),
    "slow-sync": Kind(
        "warning",
        "appendfsync is {detail}",
        "a crash of the machine may lose the last half minute",
        "CONFIG SET appendfsync everysec",
    ),
    "loss-window": Kind(
        "info", "appendfsync is everysec", "a crash of the machine may lose the last second", "nothing; know it"
    ),
    "write-failed": Kind(
        "problem", "{detail} failed", "it may not be able to write to disk", "look at its log and its free disk space"
    ),
    "replicas": Kind(
        "info",
        "{detail}",
        "a failover may lose what its replicas had not seen",
        "set min-replicas-to-write and min-replicas-max-lag if that is too much",
    ),
    "is-replica": Kind("problem", "it is a replica", "nothing can be written to it", "connect to the primary"),
    "clock-apart": Kind(
        "info",
        "this machine's clock is {detail} from Redis' clock",
        "times look shifted here; leases do not depend on it",
        "synchronise the clocks",
    ),
}

_QUEUE: Final = {
    "wrong-type": Kind("problem", "{detail}", "somebody else wrote there; parts of the queue stand still", _LOOK),
    "damaged": Kind("problem", "cannot be examined: {detail}", "what stands there is none of ours", _LOOK),
    "unreadable-job": Kind(
        "problem", "{detail} makes no sense", "no worker starts it, and it may never end", f"{_WHO_WRITES}; {_LOOK}"
    ),
    "queue-name": Kind("warning", "no name of a queue", "nobody can reach it", _WHO_WRITES),
    "empty-queue": Kind("info", "has no job, and nobody works on it", "nothing", "nothing"),
    "unserved": Kind(
        "warning",
        "{detail}",
        "no live worker serves this queue: nothing of it starts, comes due or expires",
        "start one: oneshot-queue worker -q QUEUE",
    ),
    "no-group": Kind("info", "has no consumer group yet", "the next claim makes it", _REPAIRED, is_mendable=True),
    "stray-entry": Kind(
        "warning",
        "an entry of the {detail} stream names no job",
        "the next claim sets it aside",
        f"{_REPAIRED}: it goes to the quarantine; {_WHO_WRITES}",
        is_mendable=True,
    ),
    "entry-without-job": Kind(
        "problem", "its entry {detail} is there, and it is gone", "its record was lost", _REPAIRED, is_mendable=True
    ),
    "entry-too-many": Kind(
        "warning",
        "entry {detail} is not where it stands",
        "the queue looks longer than it is",
        _REPAIRED,
        is_mendable=True,
    ),
    "job-in-no-index": Kind(
        "problem", "it is {detail}, and not listed so", "no listing and no sweeper sees it", _REPAIRED, is_mendable=True
    ),
    "index-ghost": Kind("warning", "listed, and it is {detail}", "counts are too high", _REPAIRED, is_mendable=True),
    "job-without-entry": Kind(
        "problem",
        "it waits, and no worker would be handed it",
        "it would wait until a worker audits the queue",
        f"{_REPAIRED}: it gets a place at the end of its stream",
        is_mendable=True,
    ),
    "delayed-without-due": Kind(
        "warning",
        "delayed, and its record does not say so",
        "show tells less than it could",
        _REPAIRED,
        is_mendable=True,
    ),
    "delay-forgotten": Kind(
        "problem",
        "it is to start later, and nobody waits for that",
        "it would start too early",
        _REPAIRED,
        is_mendable=True,
    ),
    "expiry-forgotten": Kind(
        "problem", "it expires, and nobody waits for that", "it may start too late", _REPAIRED, is_mendable=True
    ),
    "delayed-ghost": Kind("warning", "delayed, and it is {detail}", "counts are too high", _REPAIRED, is_mendable=True),
    "expiring-ghost": Kind(
        "warning", "waited for to expire, and it is {detail}", "a row too many", _REPAIRED, is_mendable=True
    ),
    "running-without-lease": Kind(
        "problem",
        "it runs under lease {detail}, which nobody holds",
        "its worker is gone, or has yet to say that it lives",
        f"a live worker decides it within a minute; {_JUDGED}",
    ),
    "running-without-entry": Kind(
        "problem",
        "it runs under lease {detail}, and its entry is not pending there",
        "were its worker lost, it would be decided late",
        _REPAIRED,
        is_mendable=True,
    ),
    "survivors": Kind(
        "problem",
        "{detail} of its processes outlived SIGKILL",
        "they may still use the machine",
        "look at them on its host; nobody can end them from here",
    ),
    "unconfirmed": Kind(
        "info",
        "it was decided without its worker",
        "when its worker comes back, it ends what is left",
        "nothing; look at its host if that stays away",
    ),
    "lasting-job": Kind(
        "warning",
        "it has ended, and {detail} of its keys never expire",
        "they stay for ever",
        _REPAIRED,
        is_mendable=True,
    ),
    "lease-over": Kind(
        "warning",
        "over for {detail}",
        "its worker is gone; a live worker decides its jobs",
        f"start a worker; once it is over for longer than it lasts, {_JUDGED}",
    ),
    "lease-condemned": Kind(
        "warning", "its jobs are being decided", "a sweeper is at it, or died over it", "--repair finishes it"
    ),
    "lease-unknown": Kind(
        "warning",
        "not registered, and still in use: {detail}",
        "what is pending under it is handed to nobody",
        _JUDGED,
    ),
    "total-wrong": Kind(
        "warning",
        "the bytes of output kept do not add up: {detail}",
        "finished jobs are forgotten too early or too late",
        _REPAIRED,
        is_mendable=True,
    ),
    "kept-ghost": Kind(
        "warning",
        "its output is counted, and it is gone",
        "finished jobs are forgotten too early",
        _REPAIRED,
        is_mendable=True,
    ),
    "counter-wrong": Kind("problem", "{detail}", "scripts that count there fail", _LOOK),
    "malformed": Kind("info", "{detail} entries were set aside", "they named no job that could be read", _WHO_WRITES),
    "quarantine": Kind(
        "info",
        "{detail} entries are kept to be looked at",
        "the newest 1,000 are",
        "LRANGE shows them, DEL forgets them",
    ),
}

_MACHINE: Final = {
    "dead-worker": Kind(
        "info",
        "died on this machine, and its notes are still here",
        "the next worker ends what it left, and decides its jobs",
        "start a worker for the same broker",
    ),
    "waiting-spool": Kind(
        "warning",
        "died on this machine with ends of jobs that Redis had not taken",
        "until they are told, those jobs look lost",
        "start a worker for the same broker: it tells them",
    ),
}

MEANINGS: Final[dict[str, Kind]] = {**_SERVER, **_MACHINE, **_QUEUE}
