"""From the local engine's events to what has to be sent, recorded and said about a held job."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Final, assert_never

from oneshot_queue.clock import Clock
from oneshot_queue.outcomes import Cause, Outcome
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
from oneshot_queue.workers.worker.report import Report
from oneshot_queue.workers.worker.services.recorder import Recorder
from oneshot_queue.workers.worker.services.shipper import Shipper
from oneshot_queue.workers.worker.state.held_jobs import HeldJob, HeldJobs
from oneshot_queue.workers.worker.state.server_clock import ServerClock

STUCK: Final = "its worker was stuck, and the supervisor ended the job before its lease ran out"

logger = logging.getLogger(__name__)


class JobObserver:
    """An observer of the orchestrator: everything here happens in the turn of the event loop in which it was seen."""

    def __init__(
        self, *, held_jobs: HeldJobs, recorder: Recorder, shipper: Shipper, clock: Clock, server_clock: ServerClock
    ) -> None:
        self._held_jobs = held_jobs
        self._recorder = recorder
        self._shipper = shipper
        self._clock = clock
        self._server_clock = server_clock

    def attach(
        self, report: Report, postpone: Callable[[HeldJob], None], was_fenced: Callable[[HeldJob], bool]
    ) -> None:
        """Connect what exists only after the orchestrator does.

        Args:
            postpone: Told of a job whose process this host cannot start now.
            was_fenced: Whether the supervisor has ended a job, because its lease was about to run out.
        """
        self._report = report
        self._postpone = postpone
        self._was_fenced = was_fenced

    def __call__(self, event: Event) -> None:
        """Take in one event."""
        held = self._held_jobs.by_task(event.task_id)
        if held is None:
            return
        match event:
            case TaskStarted(pid=pid):
                held.pid, held.started_s = pid, self._clock.monotonic()
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
                self._report.completion(held, cause)
            case SpawnDelayed(error=error):
                logger.warning("job %s cannot be started yet: %s", held.job_id, error)
                self._postpone(held)
            case TaskEnded(outcome=outcome):
                if self._was_fenced(held) and outcome.cause is Cause.SIGNAL:
                    outcome = replace(outcome, cause=Cause.WORKER_LOST, error=STUCK)
                self._end(held, outcome)
                if held.is_fenced:
                    self._report.let_go(held)
                elif held.goes_back is None:
                    seconds = None if held.started_s is None else self._clock.monotonic() - held.started_s
                    self._report.ended(held, outcome, seconds)
            case _:
                assert_never(event)

    def _end(self, held: HeldJob, outcome: Outcome) -> None:
        held.ended = (outcome, self._clock.monotonic())
        if held.is_fenced:
            self._shipper.forget(held)
            self._held_jobs.remove(held)
            return
        if held.output.is_waiting or held.output.in_flight is not None:
            self._shipper.look_at(held, at_once=True)
        self._recorder.look_at(held)
