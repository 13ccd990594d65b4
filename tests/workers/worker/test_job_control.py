"""How a job ends that this worker ends early depends on its phase and on its options."""

from __future__ import annotations

from typing import Any
from unittest.mock import Mock

import pytest

from oneshot_queue.outcomes import Cause, Outcome
from oneshot_queue.spec import JobSpec
from oneshot_queue.states import JobState
from oneshot_queue.store.leases import Intent
from oneshot_queue.task_events import TaskEnded
from oneshot_queue.workers.worker.job_control import JobControl
from oneshot_queue.workers.worker.observer import JobObserver
from oneshot_queue.workers.worker.session import Identity
from oneshot_queue.workers.worker.state.held_jobs import FENCED, Ended, GoingBack, HeldJob, Phase, Running, Waiting
from tests.workers.worker.builders import a_held_job, a_session, ended, no_held_jobs, running

INTERRUPTED = Outcome(JobState.INTERRUPTED, Cause.INTERRUPTED)
LOST = Outcome(JobState.FAILED, Cause.WORKER_LOST)
ONCE, RETRIED = JobSpec(["true"]), JobSpec(["true"], retries=1)


class Harness:
    """A job and its task, whose end the observer sees."""

    def __init__(self, phase: Phase, *, spec: JobSpec = ONCE, intent: Intent | None = None) -> None:
        self.has_process = isinstance(phase, Running)
        self.held_jobs = no_held_jobs()
        self.held: HeldJob = a_held_job(phase=phase, spec=spec, intent=intent)
        self.held_jobs.add(self.held)
        self.task = Mock()
        self.engine = Mock(tasks={self.held.task_id: self.task})
        self.engine.interrupt.side_effect = self._interrupt
        self.recorder, starts = Mock(), Mock()
        starts.was_fenced.return_value = False
        self.slots = Mock()
        self.control = JobControl(self.held_jobs, self.engine, self.slots, Identity("w", "w1", "host", 1))
        self.observer = JobObserver(
            a_session(),
            self.held_jobs,
            starts=starts,
            control=self.control,
            recorder=self.recorder,
            shipper=Mock(),
            report=Mock(),
        )

    def end(self, outcome: Outcome) -> None:
        self.observer(TaskEnded(self.held.task_id, outcome))

    def _interrupt(self, task_id: str, **options: Any) -> bool:
        del options
        if not self.has_process:
            self.observer(TaskEnded(task_id, INTERRUPTED))
        return True

    @property
    def outcome(self) -> Outcome:
        assert isinstance(self.held.phase, Ended)
        return self.held.phase.outcome


def test_job_of_a_stopped_worker_is_interrupted_and_says_why() -> None:
    harness = Harness(running())

    harness.control.stop(harness.held, "was stopped", is_lost=False)
    harness.end(INTERRUPTED)

    assert (harness.outcome.state, harness.outcome.error) == (JobState.INTERRUPTED, "worker w1 was stopped")


@pytest.mark.parametrize("is_lost", [True, False])
def test_job_that_may_be_retried_is_handed_on(is_lost: bool) -> None:
    harness = Harness(running(), spec=RETRIED)

    harness.control.stop(harness.held, "was stopped", is_lost=is_lost)
    harness.end(LOST)

    assert (harness.task.give_up.call_args.args, harness.engine.interrupt.called) == ((Cause.WORKER_LOST,), False)
    process = harness.held.process
    assert process is not None
    assert process.stop is not None
    assert process.stop.is_handed_on


def test_job_of_a_worker_that_lost_its_supervisor_fails_as_lost_even_if_it_is_killed_meanwhile() -> None:
    harness = Harness(running())

    harness.control.stop(harness.held, "lost its supervisor", is_lost=True)
    harness.end(INTERRUPTED)

    assert (harness.outcome.state, harness.outcome.cause) == (JobState.FAILED, Cause.WORKER_LOST)
    assert harness.outcome.error == "worker w1 lost its supervisor"


def test_interrupt_on_record_wins_over_the_loss_of_the_supervisor() -> None:
    harness = Harness(running(), intent=Intent("job", 1, None))

    harness.control.stop(harness.held, "lost its supervisor", is_lost=True)
    harness.end(INTERRUPTED)

    assert (harness.outcome.state, harness.outcome.cause) == (JobState.INTERRUPTED, Cause.INTERRUPTED)
    assert not harness.task.give_up.called


@pytest.mark.parametrize("is_lost", [True, False])
def test_job_without_a_process_goes_back_when_it_is_given_up(is_lost: bool) -> None:
    harness = Harness(Waiting(), spec=RETRIED)

    harness.control.stop(harness.held, "was stopped", is_lost=is_lost)

    assert harness.held.phase == GoingBack("unstarted")
    harness.recorder.schedule.assert_called_once_with(harness.held)


def test_job_that_cannot_be_started_now_goes_back_and_claims_pause() -> None:
    harness = Harness(Waiting())

    harness.control.postpone(harness.held)

    assert harness.held.phase == GoingBack("postponed")
    harness.slots.pause.assert_called_once_with()


def test_only_jobs_without_a_process_are_returned_when_the_worker_drains() -> None:
    waiting, started = Harness(Waiting()), Harness(running())

    waiting.control.return_unstarted()
    started.control.return_unstarted()

    assert waiting.held.phase == GoingBack("drained")
    assert isinstance(started.held.phase, Running)


def test_fenced_job_is_killed_without_grace_and_released_once_its_processes_are_gone() -> None:
    harness = Harness(running())

    harness.control.fence(harness.held, "its lease is lost")
    assert harness.engine.interrupt.call_args.kwargs["grace"] == 0.0
    assert list(harness.held_jobs) == [harness.held]
    harness.end(INTERRUPTED)

    assert harness.held.phase is FENCED
    assert len(harness.held_jobs) == 0
    assert not harness.recorder.schedule.called


@pytest.mark.parametrize("phase", [ended(), GoingBack("drained")])
def test_fenced_job_that_has_ended_is_released_at_once(phase: Phase) -> None:
    harness = Harness(phase)

    harness.control.fence(harness.held, "its lease is lost")

    assert len(harness.held_jobs) == 0
    assert not harness.engine.interrupt.called


def test_job_that_has_ended_is_left_alone_when_the_worker_stops() -> None:
    harness = Harness(ended())

    harness.control.stop(harness.held, "was stopped", is_lost=True)

    assert harness.outcome.state is JobState.COMPLETED
