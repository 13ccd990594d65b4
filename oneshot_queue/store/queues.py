"""Calls about queues: registering, listing and counting them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from oneshot_queue.spec import Priority
from oneshot_queue.states import JobState
from oneshot_queue.store.calls import Call, plain, text
from oneshot_queue.store.keys import QueueKeys, queues_key


@dataclass(frozen=True, slots=True)
class QueueCounts:
    """How many jobs of a queue are in each state.

    Attributes:
        entries: Length of its ready streams: jobs that wait for a free slot, and running ones.
        delayed: Jobs that are not yet due.
    """

    queue: str
    states: Mapping[JobState, int]
    entries: int
    delayed: int = 0

    @property
    def ready(self) -> int:
        """Jobs that wait for a free slot."""
        running = self.states[JobState.RUNNING] + self.states[JobState.IDLE]
        return max(0, self.entries - running)


def ping() -> Call[None]:
    """Check that the server answers."""
    return plain("PING", read=lambda _: None)


def add_queue(namespace: str, queue: str) -> Call[int]:
    """Register a queue's name; sent before its first job, so that every queue with jobs is listed."""
    return plain("SADD", queues_key(namespace), queue, read=int)


def queues(namespace: str) -> Call[list[str]]:
    """Return the names of all queues that ever had a job, sorted."""
    return plain("SMEMBERS", queues_key(namespace), read=lambda reply: sorted(text(name) for name in reply))


def counts(keys: QueueKeys) -> list[Call[int]]:
    """Return the ten counts that ``queue_counts`` needs, to be sent together."""
    states = [plain("ZCARD", keys.state(state), read=int) for state in JobState]
    ready = [plain("XLEN", keys.ready(priority), read=int) for priority in Priority]
    return [*states, plain("ZCARD", keys.delayed, read=int), *ready]


def queue_counts(keys: QueueKeys, answers: list[int]) -> QueueCounts:
    """Build the counts from the answers of ``counts``."""
    states, delayed, ready = answers[: len(JobState)], answers[len(JobState)], answers[len(JobState) + 1 :]
    return QueueCounts(keys.queue, dict(zip(JobState, states, strict=True)), sum(ready), delayed)
