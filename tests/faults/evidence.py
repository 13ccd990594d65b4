"""What is known after a test: what commands reported, what Redis stores, and which processes still run."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from oneshot_queue import JobRecord
from oneshot_queue.client.verbs.logs import OutputChunk
from tests.support.witness import WitnessEvent


@dataclass(frozen=True, slots=True)
class Footprint:
    """The kernel resources of a process; its sockets count as connections, not as descriptors."""

    descriptors: int
    connections: int
    threads: int
    children: int

    @classmethod
    def of(cls, pid: int) -> Footprint:
        """The resources that this process has now."""
        children = sum(len(path.read_text().split()) for path in Path(f"/proc/{pid}/task").glob("*/children"))
        folder = Path(f"/proc/{pid}/fd")
        targets = [os.readlink(folder / name) for name in os.listdir(folder)]
        connections = sum(target.startswith("socket:") for target in targets)
        return cls(len(targets) - connections, connections, len(os.listdir(f"/proc/{pid}/task")), children)


@dataclass(slots=True)
class Evidence:
    """All that the checks judge by.

    Attributes:
        acknowledged: Jobs whose enqueue was acknowledged.
        interrupted: Jobs whose interrupt was acknowledged.
        records: Their records in Redis.
        unreadable: Job -> why it has no readable record.
        damaged: Jobs whose record was damaged on purpose, and is not in ``records``.
        tokens: Job -> the token in its record.
        events: What the commands reported, in order.
        witnessed: Jobs with a record whose command reports its start.
        watched_results: Number of results that were watched.
        changed_results: Descriptions of results that changed.
        alive: Token -> processes that still have it in their environment after their time to end.
        strays: Other processes that should be gone.
        has_worker: Whether a worker still runs.
        is_prompt: Whether nothing kept a worker from receiving an interrupt and acting on it at once.
        leftovers: Descriptions of what is in Redis and should not be.
        expected: Job -> all that its last attempt wrote to stdout.
        stored: Job -> the stored output of all its attempts, for these jobs and some others.
        grown: Process -> what it occupied before and after.
        secrets: Name -> value of what must not appear.
        texts: Place where it must not appear -> its text.
    """

    acknowledged: Collection[str] = ()
    interrupted: Collection[str] = ()
    records: Mapping[str, JobRecord] = field(default_factory=dict)
    unreadable: Mapping[str, str] = field(default_factory=dict)
    damaged: Collection[str] = ()
    tokens: Mapping[str, str] = field(default_factory=dict)
    events: Collection[WitnessEvent] = ()
    witnessed: Collection[str] = ()
    watched_results: int = 0
    changed_results: Collection[str] = ()
    alive: Mapping[str, Collection[int]] = field(default_factory=dict)
    strays: Collection[int] = ()
    has_worker: bool = True
    is_prompt: bool = True
    leftovers: Collection[str] = ()
    expected: Mapping[str, bytes] = field(default_factory=dict)
    stored: Mapping[str, Collection[OutputChunk]] = field(default_factory=dict)
    grown: Mapping[str, tuple[Footprint, Footprint]] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict)
    texts: Mapping[str, str] = field(default_factory=dict)
