"""What is known after a test: what the commands said, what Redis keeps, and which processes the kernel still runs."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from oneshot_queue import JobRecord
from oneshot_queue.client.verbs.logs import OutputChunk
from tests.support.witness import Testimony


@dataclass(frozen=True, slots=True)
class Footprint:
    """What a process occupies of the kernel; its sockets are not among its descriptors."""

    descriptors: int
    connections: int
    threads: int
    children: int

    @classmethod
    def of(cls, pid: int) -> Footprint:
        """What this process occupies now."""
        children = sum(len(path.read_text().split()) for path in Path(f"/proc/{pid}/task").glob("*/children"))
        folder = Path(f"/proc/{pid}/fd")
        targets = [os.readlink(folder / name) for name in os.listdir(folder)]
        connections = sum(target.startswith("socket:") for target in targets)
        return cls(len(targets) - connections, connections, len(os.listdir(f"/proc/{pid}/task")), children)


@dataclass(slots=True)
class Evidence:
    """All that the checker judges by; a test of the checker makes it up.

    Attributes:
        acknowledged: Jobs whose enqueue was answered.
        interrupted: Jobs whose interrupt was answered.
        records: What Redis knows of them.
        unreadable: Why it knows nothing of the others.
        damaged: Jobs whose record was damaged on purpose, and is not among these.
        tokens: The token on record of each job.
        heard: What the commands testified, in its order.
        witnessed: Jobs with a record whose command testifies to its start.
        watched_ends: How many ends were watched.
        changed_ends: Those that were seen to change.
        alive: Token -> processes that run with it in their environment, after the time they had to end.
        strays: Other processes that should be gone.
        has_worker: Whether a worker still runs.
        is_prompt: Whether nothing kept a worker from hearing of an interrupt and from acting on it at once.
        leftovers: What is in Redis and should not be.
        expected: What jobs wrote to stdout in their last attempt.
        stored: What is kept of all attempts of these jobs, and of as many others as the collector reads.
        grown: Process -> what it occupied before and after.
        secrets: Name -> value of what must not be seen.
        texts: Where it must not be seen -> what is there.
    """

    acknowledged: Collection[str] = ()
    interrupted: Collection[str] = ()
    records: Mapping[str, JobRecord] = field(default_factory=dict)
    unreadable: Mapping[str, str] = field(default_factory=dict)
    damaged: Collection[str] = ()
    tokens: Mapping[str, str] = field(default_factory=dict)
    heard: Collection[Testimony] = ()
    witnessed: Collection[str] = ()
    watched_ends: int = 0
    changed_ends: Collection[str] = ()
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
