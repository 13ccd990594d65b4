"""What is known after a test: what the commands said, what Redis keeps, and which processes the kernel still runs."""

from __future__ import annotations

import os
import threading
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import redis

from oneshot_queue import JobRecord, JobState
from oneshot_queue.client.reading import OutputChunk
from oneshot_queue.states import FINAL_STATES
from tests.integration.deployment import Deployment
from tests.integration.witness import Testimony
from tests.waiting import LIMIT_S

_LOOK_S: Final = 0.05


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
        tokens: The token on record of each job.
        heard: What the commands testified, in its order.
        changed_ends: Ends that were seen to change.
        alive: Token -> processes that run with it in their environment, after the time they had to end.
        strays: Other processes that should be gone.
        has_worker: Whether a worker still runs.
        leftovers: What is in Redis and should not be.
        expected: What jobs wrote to stdout.
        stored: What is kept of it.
        grown: Process -> what it occupied before and after.
        secrets: Name -> value of what must not be seen.
        texts: Where it must not be seen -> what is there.
    """

    acknowledged: Collection[str] = ()
    interrupted: Collection[str] = ()
    records: Mapping[str, JobRecord] = field(default_factory=dict)
    unreadable: Mapping[str, str] = field(default_factory=dict)
    tokens: Mapping[str, str] = field(default_factory=dict)
    heard: Collection[Testimony] = ()
    changed_ends: Collection[str] = ()
    alive: Mapping[str, Collection[int]] = field(default_factory=dict)
    strays: Collection[int] = ()
    has_worker: bool = True
    leftovers: Collection[str] = ()
    expected: Mapping[str, bytes] = field(default_factory=dict)
    stored: Mapping[str, Collection[OutputChunk]] = field(default_factory=dict)
    grown: Mapping[str, tuple[Footprint, Footprint]] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict)
    texts: Mapping[str, str] = field(default_factory=dict)


class EndsWatcher:
    """Looks at the ends of a queue's jobs again and again, and notices when one changes.

    Attributes:
        changes: What was noticed.
    """

    def __init__(self, deployment: Deployment) -> None:
        self._deployment = deployment
        self._seen: dict[str, tuple[JobState, float]] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self.changes: list[str] = []

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._stop.set()
        self._thread.join(LIMIT_S)

    def look(self, client: Any) -> None:
        """Look once."""
        for state in JobState:
            for raw, at_ms in client.zrange(self._deployment.keys.state(state), 0, -1, withscores=True):
                job_id, end = raw.decode(), (state, at_ms)
                former = self._seen.get(job_id)
                if former not in (None, end):
                    self.changes.append(f"{job_id} ended {former} and is now {end}")
                if state in FINAL_STATES:
                    self._seen[job_id] = end

    def _watch(self) -> None:
        with redis.Redis.from_url(self._deployment.url, socket_timeout=2, retry=None, protocol=2) as client:
            while not self._stop.wait(_LOOK_S):
                try:
                    self.look(client)
                except redis.RedisError:
                    continue  # The server is away: that is what these tests do to it.
