"""Builders with defaults for tests of the worker's parts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from oneshot_queue.clock import Clock
from oneshot_queue.outcomes import Cause, Outcome
from oneshot_queue.settings import Settings
from oneshot_queue.states import JobState
from oneshot_queue.store.attempts import Holder
from oneshot_queue.store.keys import QueueKeys
from oneshot_queue.workers.worker.session import Identity, Session
from oneshot_queue.workers.worker.state.held_jobs import Ended, HeldJob, HeldJobs, Phase, Running
from oneshot_queue.workers.worker.state.leases import Lease
from oneshot_queue.workers.worker.state.server_clock import ServerClock


@dataclass
class ManualClock:
    """A clock that advances only when a test moves it."""

    seconds: float = 100.0
    wall_ms: int = 1_000_000
    slept_s: float = 0.0

    def monotonic(self) -> float:
        return self.seconds

    def boottime(self) -> float:
        return self.seconds + self.slept_s

    def now_ms(self) -> int:
        return self.wall_ms


@dataclass
class RecordingStarts:
    """A start log of held jobs that only records its calls."""

    calls: list[tuple[str, HeldJob]] = field(default_factory=list)

    def hold(self, held: HeldJob) -> None:
        self.calls.append(("hold", held))

    def hand_over(self, held: HeldJob) -> None:
        self.calls.append(("hand over", held))

    def release(self, held: HeldJob) -> None:
        self.calls.append(("release", held))


@dataclass
class RecordingControl:
    """A ``JobControl`` that only records which jobs it was asked to end."""

    interrupted: list[tuple[HeldJob, float | None]] = field(default_factory=list)
    fenced: list[HeldJob] = field(default_factory=list)
    given_up: list[tuple[HeldJob, float | None]] = field(default_factory=list)

    def interrupt(self, held: HeldJob, grace_s: float | None, reason: str) -> bool:
        del reason
        is_new = held not in [each for each, _ in self.interrupted]
        self.interrupted.append((held, grace_s))
        return is_new

    def fence(self, held: HeldJob, why: str) -> None:
        del why
        self.fenced.append(held)

    def give_up(self, held: HeldJob, grace_s: float | None, reason: str) -> None:
        del reason
        self.given_up.append((held, grace_s))


@dataclass
class RecordingRecorder:
    """A recorder that only records its calls."""

    scheduled: list[HeldJob] = field(default_factory=list)
    changed: list[HeldJob] = field(default_factory=list)
    spooled: int = 0

    def schedule(self, held: HeldJob) -> None:
        self.scheduled.append(held)

    def add_change(self, held: HeldJob) -> None:
        self.changed.append(held)

    def recent(self, keys: QueueKeys) -> Sequence[Any]:
        del keys
        return ()

    async def spool_results(self) -> None:
        self.spooled += 1


def no_held_jobs() -> HeldJobs:
    """Return an empty set of held jobs."""
    return HeldJobs(RecordingStarts())


def a_held_job(
    job_id: str = "job", *, queue: str = "queue", token: str = "1", phase: Phase | None = None, **attributes: Any
) -> HeldJob:
    """A job that was claimed; it waits for its start unless ``phase`` says otherwise."""
    held = HeldJob(QueueKeys("oq", queue), job_id, 1, Holder(token, "worker.1", "worker"))
    if phase is not None:
        held.phase = phase
    for name, value in attributes.items():
        setattr(held, name, value)
    return held


def running(pid: int = 4001) -> Running:
    """The phase of a job whose process exists."""
    return Running(pid, 1.0)


def ended() -> Ended:
    """The phase of a job that has completed."""
    return Ended(Outcome(JobState.COMPLETED, Cause.EXIT, exit_code=0), 1.0, Running(4001, 0.5))


def a_session(
    connection: Any = None,
    *,
    queues: Sequence[str] = ("queue",),
    clock: Clock | None = None,
    lease_s: float = 30.0,
    settings: Settings | None = None,
    worker_id: str = "worker",
    announcements: Any = None,
) -> Session:
    """A session of the worker ``name`` on ``host``, with one lease for each queue."""
    clock = clock or ManualClock()
    settings = settings or Settings(lease_s=lease_s)
    return Session(
        connection=connection,
        announcements=announcements,
        identity=Identity(worker_id, "name", "host", 1),
        settings=settings,
        leases=[Lease(QueueKeys(settings.namespace, queue), worker_id) for queue in queues],
        clock=clock,
        server_clock=ServerClock(clock),
    )
