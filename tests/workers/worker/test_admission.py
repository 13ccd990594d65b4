"""A claimed job is started once: not under a lost lease, not beside its former attempt, not if it was interrupted."""

from __future__ import annotations

from typing import Any
from unittest.mock import Mock

from oneshot_queue.outcomes import Cause
from oneshot_queue.spec import JobSpec
from oneshot_queue.states import JobState
from oneshot_queue.store.claims import Claim
from oneshot_queue.store.leases import Intent
from oneshot_queue.wire.specs import pack_spec
from oneshot_queue.workers.worker.admission import Admission
from oneshot_queue.workers.worker.orders import Orders
from oneshot_queue.workers.worker.state.early_interrupts import EarlyInterrupts
from oneshot_queue.workers.worker.state.held_jobs import Ended
from tests.workers.worker.builders import (
    RecordingControl,
    RecordingRecorder,
    a_held_job,
    a_session,
    no_held_jobs,
    running,
)

SPEC = JobSpec(["true"])


class Harness:
    """An admission with an engine that only records its calls."""

    def __init__(self, *intents: Intent) -> None:
        self.intents = intents
        self.held_jobs = no_held_jobs()
        self.engine = Mock(tasks={})
        self.control = RecordingControl()
        self.recorder = RecordingRecorder()
        session = a_session(self)
        (self.lease,) = session.leases
        self.early = EarlyInterrupts(session.clock, remember_s=30.0)
        self.admission = Admission(
            session,
            self.held_jobs,
            self.engine,
            control=self.control,  # type: ignore[arg-type]
            slots=Mock(),
            recorder=self.recorder,
            orders=Orders(session, self.held_jobs, self.control, self.early),
            early=self.early,
        )

    async def run(self, call: Any) -> Any:
        del call
        return self.intents, 0

    async def admit(self, *, lease_id: str = "worker.1", attempt: int = 1, spec: bytes | None = None) -> None:
        claim = Claim("job", attempt, "7-a", pack_spec(SPEC) if spec is None else spec, b"")
        await self.admission.admit(self.lease, lease_id, claim)


async def test_claimed_job_is_held_and_started() -> None:
    harness = Harness()

    await harness.admit()

    (held,) = harness.held_jobs
    assert held.spec == SPEC
    assert harness.engine.submit.call_args.kwargs["token"] == "7-a"


async def test_job_whose_lease_was_lost_before_it_arrived_is_not_started() -> None:
    harness = Harness()

    await harness.admit(lease_id="worker.0")

    assert len(harness.held_jobs) == 0
    assert not harness.engine.submit.called


async def test_job_that_cannot_be_read_fails_as_rejected() -> None:
    harness = Harness()

    await harness.admit(spec=b"\xff")

    (held,) = harness.held_jobs
    assert isinstance(held.phase, Ended)
    assert (held.phase.outcome.state, held.phase.outcome.cause) == (JobState.FAILED, Cause.REJECTED)
    assert harness.recorder.scheduled == [held]
    assert not harness.engine.submit.called


async def test_job_that_was_interrupted_before_it_arrived_is_interrupted() -> None:
    harness = Harness(Intent("job", 1, 2.0))
    harness.early.remember("queue", "job", 1)

    await harness.admit()

    (held,) = harness.held_jobs
    assert (held, 2.0) in harness.control.interrupted


async def test_running_job_that_the_broker_hands_over_again_continues_under_the_new_token() -> None:
    harness = Harness()
    former = a_held_job(token="6-z", phase=running(), spec=SPEC)
    harness.held_jobs.add(former)

    await harness.admit()

    assert (list(harness.held_jobs), former.holder.token, former.token) == ([former], "7-a", "6-z")
    assert harness.recorder.changed == [former]
    assert not harness.engine.submit.called


async def test_later_attempt_is_started_only_after_the_former_one_is_fenced() -> None:
    harness = Harness()
    former = a_held_job(token="6-z", phase=running(), spec=SPEC)
    harness.held_jobs.add(former)

    await harness.admit(attempt=2)

    assert harness.control.fenced == [former]
    assert harness.engine.submit.call_args.kwargs["attempt"] == 2
