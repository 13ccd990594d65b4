"""Acts on the engine's events: sends, records and reports what happens to held jobs."""

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

STUCK: Final = "its worker did not respond, and the supervisor killed the job before its lease expired"

logger = logging.getLogger(__name__)


class StartLog(Protocol):
    """Knows which jobs the supervisor has killed."""

    def was_fenced(self, held: HeldJob) -> bool:
        """Whether the supervisor has killed this job because its lease was about to expire."""


class JobObserver:
    """An observer of the engine. It acts on each event in the same turn of the event loop."""

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
                self._recorder.add_change(held)
                self._report.started(held)
            case OutputReceived(stream=stream, offset=offset, data=data):
                held.output.append(stream, offset, data, self._server_clock.now_ms())
                self._shipper.schedule(held)
            case SilenceDetected():
                self._recorder.add_change(held, "detect_silence")
            case ActivityDetected():
                self._recorder.add_change(held, "detect_activity")
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
                self._record_end(held, running, self._final_outcome(held, running, outcome))
            case Waiting():
                self._record_end(held, None, outcome)
            case GoingBack():
                self._recorder.schedule(held)
            case Fenced():
                self._shipper.forget(held)
                self._held_jobs.remove(held)
                self._report.gone(held)
            case Ended():
                raise AssertionError(f"task {held.task_id} ended twice")
            case _:
                assert_never(held.phase)

    def _record_end(self, held: HeldJob, process: Running | None, outcome: Outcome) -> None:
        now_s = self._clock.monotonic()
        held.phase = Ended(outcome, now_s, process)
        if held.output.is_waiting or held.output.in_flight is not None:
            self._shipper.schedule(held, at_once=True)
        self._recorder.schedule(held)
        self._report.ended(held, outcome, None if process is None else now_s - process.started_s)

    def _final_outcome(self, held: HeldJob, running: Running, outcome: Outcome) -> Outcome:
        """Add what the engine does not know: whether the supervisor or this worker ended the job, and why."""
        if outcome.cause is Cause.SIGNAL and self._starts.was_fenced(held):
            return replace(outcome, cause=Cause.WORKER_LOST, error=STUCK)
        stop = running.stop
        # A recorded interrupt takes precedence over this worker's own reason.
        if stop is None or held.intent is not None or outcome.cause not in (Cause.INTERRUPTED, Cause.WORKER_LOST):
            return outcome
        error = stop.reason if outcome.error is None else f"{stop.reason}; {outcome.error}"
        if stop.is_given_up:
            # Also if a more urgent stop has killed it meanwhile: the reason stays the same.
            return replace(outcome, state=JobState.FAILED, cause=Cause.WORKER_LOST, error=error)
        return replace(outcome, error=error)
