"""From the engine's events to what has to be sent, recorded and reported about a held job."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Final, Protocol, assert_never

from oneshot_queue.outcomes import Cause, Outcome
from oneshot_queue.states import JobState
from oneshot_queue.task_events import (
    ActivityDetected,
    Event,
    InterruptStarted,
    OutputReceived,
    SilenceDetected,
    SpawnDelayed,
    TaskEnded,
    TaskStarted,
)
from oneshot_queue.workers.worker.job_control import JobControl
from oneshot_queue.workers.worker.report import Report
from oneshot_queue.workers.worker.services.recorder import Recorder
from oneshot_queue.workers.worker.services.shipper import Shipper
from oneshot_queue.workers.worker.session import Session
from oneshot_queue.workers.worker.state.held_jobs import (
    Ended,
    Fenced,
    GoingBack,
    HeldJob,
    HeldJobs,
    Running,
    Waiting,
    log_fields,
)

STUCK: Final = "its worker was stuck, and the supervisor ended the job before its lease ran out"

logger = logging.getLogger(__name__)


class StartLog(Protocol):
    """Knows what the supervisor did to a job."""

    def was_fenced(self, held: HeldJob) -> bool:
        """Whether the supervisor ended this job because its lease was about to run out."""


class JobObserver:
    """An observer of the engine: acts in the same turn of the event loop in which something happened."""

    def __init__(
        self,
        session: Session,
        held_jobs: HeldJobs,
        *,
        starts: StartLog,
        control: JobControl,
        recorder: Recorder,
        shipper: Shipper,
        report: Report,
    ) -> None:
        self._clock = session.clock
        self._server_clock = session.server_clock
        self._held_jobs = held_jobs
        self._starts = starts
        self._control = control
        self._recorder = recorder
        self._shipper = shipper
        self._report = report

    def __call__(self, event: Event) -> None:
        """Act on one event."""
        held = self._held_jobs.by_task(event.task_id)
        if held is None:
            return
        match event:
            case TaskStarted(pid=pid):
                held.phase = Running(pid, self._clock.monotonic())
                self._recorder.note(held)
                self._report.started(held)
            case OutputReceived(stream=stream, offset=offset, data=data):
                held.output.append(stream, offset, data, self._server_clock.now_ms())
                self._shipper.look_at(held)
            case SilenceDetected():
                self._recorder.note(held, "detect_silence")
            case ActivityDetected():
                self._recorder.note(held, "detect_activity")
            case InterruptStarted(cause=cause):
                self._report.stopping(held, cause)
            case SpawnDelayed(error=error):
                logger.warning("cannot be started yet: %s", error, extra=log_fields(held))
                self._control.postpone(held)
            case TaskEnded(outcome=outcome):
                self._end(held, outcome)
            case _:
                assert_never(event)

    def _end(self, held: HeldJob, outcome: Outcome) -> None:
        match held.phase:
            case Running() as running:
                self._record_end(held, running, self._judge(held, running, outcome))
            case Waiting():
                self._record_end(held, None, outcome)
            case GoingBack():
                self._recorder.look_at(held)
            case Fenced():
                self._shipper.forget(held)
                self._held_jobs.remove(held)
                self._report.let_go(held)
            case Ended():
                raise AssertionError(f"task {held.task_id} ended twice")
            case _:
                assert_never(held.phase)

    def _record_end(self, held: HeldJob, process: Running | None, outcome: Outcome) -> None:
        now_s = self._clock.monotonic()
        held.phase = Ended(outcome, now_s, process)
        if held.output.is_waiting or held.output.in_flight is not None:
            self._shipper.look_at(held, at_once=True)
        self._recorder.look_at(held)
        self._report.ended(held, outcome, None if process is None else now_s - process.started_s)

    def _judge(self, held: HeldJob, running: Running, outcome: Outcome) -> Outcome:
        """The outcome with what the engine does not know: that the supervisor or this worker ended the job, and why."""
        if outcome.cause is Cause.SIGNAL and self._starts.was_fenced(held):
            return replace(outcome, cause=Cause.WORKER_LOST, error=STUCK)
        stop = running.stop
        # An interrupt on record wins over this worker's own reason.
        if stop is None or held.intent is not None or outcome.cause not in (Cause.INTERRUPTED, Cause.WORKER_LOST):
            return outcome
        error = stop.reason if outcome.error is None else f"{stop.reason}; {outcome.error}"
        if stop.is_given_up:
            # Also if it was killed meanwhile: a more urgent stop does not change why it ends.
            return replace(outcome, state=JobState.FAILED, cause=Cause.WORKER_LOST, error=error)
        return replace(outcome, error=error)
