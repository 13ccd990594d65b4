"""Exclusive jobs end before their lease can be given away, by the clock that goes on while the machine sleeps."""

from __future__ import annotations

import pytest

from oneshot_queue.spec import JobSpec
from oneshot_queue.workers.worker.services.fencer import Fencer
from oneshot_queue.workers.worker.state.held_jobs import HeldJob, Running, Stop
from tests.workers.worker.builders import (
    ManualClock,
    RecordingControl,
    a_held_job,
    a_session,
    ended,
    no_held_jobs,
    running,
)

EXCLUSIVE = JobSpec(["true"], exclusive=True)
RETRIED = JobSpec(["true"], retries=1)
RETRIED_OTHERWISE = JobSpec(["true"], retries=1, retry_on=("exit",))


class Harness:
    """A fencer of two leases, renewed just now."""

    def __init__(self, *, lease_s: float = 30.0) -> None:
        self.clock = ManualClock()
        self.held_jobs = no_held_jobs()
        self.control = RecordingControl()
        session = a_session(queues=("queue", "other"), clock=self.clock, lease_s=lease_s)
        self.leases = session.leases
        for lease in self.leases:
            lease.renewed_s = self.clock.boottime()
        self.fencer = Fencer(session, self.held_jobs, self.control)

    def hold(self, spec: JobSpec | None = EXCLUSIVE, *, queue: str = "queue", job_id: str = "job") -> HeldJob:
        held = a_held_job(job_id, queue=queue, spec=spec, phase=running())
        self.held_jobs.add(held)
        return held


@pytest.mark.parametrize(("lease_s", "limit_s", "grace_s"), [(30.0, 25.0, 2.5), (60.0, 55.0, 2.5), (6.0, 5.0, 0.5)])
async def test_exclusive_job_ends_at_the_limit_with_half_of_the_rest_as_grace(
    lease_s: float, limit_s: float, grace_s: float
) -> None:
    harness = Harness(lease_s=lease_s)
    held = harness.hold()

    harness.clock.seconds += limit_s - 0.01
    assert await harness.fencer.run_once() == 0
    harness.clock.seconds += 0.01
    assert await harness.fencer.run_once() == 1

    assert harness.control.given_up == [(held, grace_s)]


async def test_time_asleep_counts() -> None:
    harness = Harness()
    harness.hold()

    harness.clock.slept_s += 25.0

    assert await harness.fencer.run_once() == 1


@pytest.mark.parametrize(
    ("spec", "is_ended"),
    [(EXCLUSIVE, True), (RETRIED, True), (RETRIED_OTHERWISE, False), (JobSpec(["true"]), False), (None, False)],
)
async def test_only_jobs_that_must_not_overlap_end(spec: JobSpec | None, is_ended: bool) -> None:
    harness = Harness()
    harness.hold(spec)

    harness.clock.seconds += 10_000.0

    assert await harness.fencer.run_once() == int(is_ended)


async def test_job_that_is_being_given_up_is_not_given_up_again() -> None:
    harness = Harness()
    held = harness.hold()
    harness.clock.seconds += 30.0
    assert await harness.fencer.run_once() == 1

    assert isinstance(held.phase, Running)
    held.phase.stop = Stop("its lease was not renewed", is_given_up=True)

    assert await harness.fencer.run_once() == 0


async def test_job_whose_lease_is_renewed_in_time_goes_on() -> None:
    harness = Harness()
    harness.hold()
    for _ in range(100):
        harness.clock.seconds += 24.0
        assert await harness.fencer.run_once() == 0
        harness.leases[0].renewed_s = harness.clock.boottime()


async def test_jobs_of_a_lease_that_was_renewed_run_on() -> None:
    harness = Harness()
    harness.hold(queue="other", job_id="lost")
    harness.hold(queue="queue", job_id="kept")
    harness.clock.seconds += 25.0
    harness.leases[0].renewed_s = harness.clock.boottime()

    await harness.fencer.run_once()

    assert [held.job_id for held, _ in harness.control.given_up] == ["lost"]


async def test_job_that_has_ended_is_left_to_the_recorder() -> None:
    harness = Harness()
    harness.hold().phase = ended()
    harness.clock.seconds += 30.0

    assert await harness.fencer.run_once() == 0


async def test_lease_that_was_never_acknowledged_protects_nothing() -> None:
    harness = Harness()
    harness.hold()
    harness.leases[0].renewed_s = float("-inf")

    assert await harness.fencer.run_once() == 1
