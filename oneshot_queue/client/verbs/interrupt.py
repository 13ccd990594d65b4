"""The verbs that wait for something: a job's end, an interrupt's effect."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import chain
from typing import Final

from oneshot_queue.checks import checked_duration
from oneshot_queue.client.effects import Ask, Context, Hear, Pause, Verb, ask_all, patiently
from oneshot_queue.client.verbs.wait import LOOK_AGAIN_S
from oneshot_queue.client.verbs.workers import live_workers
from oneshot_queue.errors import InterruptNotConfirmed, InvalidJob, InvalidSetting, JobNotFound
from oneshot_queue.spec import DEFAULT_GRACE_S
from oneshot_queue.states import JobState
from oneshot_queue.store import records, steering
from oneshot_queue.store.leases import worker_of
from oneshot_queue.store.steering import AlreadyFinal, Ended, IntentRecorded

MANY: Final = 20
BREATH_S: Final = 0.1
CONFIRM_S: Final = 20.0
"""Seconds beyond its grace that an interrupt may take."""


class InterruptResult(StrEnum):
    """What became of an interrupt."""

    INTERRUPTED = "interrupted"
    RECORDED = "recorded"
    ALREADY_FINAL = "already_final"
    ENDED_BY_ITSELF = "ended_by_itself"
    NOT_CONFIRMED = "not_confirmed"
    NOT_FOUND = "not_found"


@dataclass(frozen=True, slots=True)
class InterruptReport:
    """What became of the interrupt of one job; ``state`` is ``None`` if there is no such job.

    Attributes:
        worker: Name of the worker that holds the job and has not answered.
        is_confirmed: Whether no process of it can be left; false if its worker is gone and it was decided without it.
    """

    job_id: str
    state: JobState | None
    ended_ms: int | None
    result: InterruptResult
    worker: str | None = None
    is_confirmed: bool = True


def interrupt(
    context: Context,
    ids: Sequence[str],
    *,
    grace: float | None = None,
    reason: str | None = None,
    confirm: bool = True,
    timeout: float | None = None,
) -> Verb[list[InterruptReport]]:
    """Ask for the end of jobs, by their whole ids, and wait until none of them has a process left.

    Args:
        grace: Seconds between SIGTERM and SIGKILL; ``None`` is each job's own.
        confirm: Whether to wait; if not, a running job's result is ``recorded``.
        timeout: Seconds to wait; ``None`` is the longest grace and 20 seconds.

    Raises:
        InvalidSetting: The grace makes no sense; nothing was written.
    """
    try:
        grace = checked_duration("grace", grace)
    except InvalidJob as refusal:
        raise InvalidSetting("grace", refusal.problem) from None
    reports: dict[str, InterruptReport] = {}
    running: dict[str, str] = {}
    once = list(dict.fromkeys(ids))
    calls = [
        steering.interrupt(context.keys, each, grace=grace, by=context.by, reason=reason, settings=context.settings)
        for each in once
    ]
    for job_id, answer in zip(once, (yield Ask(calls)), strict=True):
        match answer:
            case Ended(state, ended_ms, is_confirmed):
                result = InterruptResult.INTERRUPTED
                reports[job_id] = InterruptReport(job_id, state, ended_ms, result, is_confirmed=is_confirmed)
            case AlreadyFinal(state, ended_ms):
                reports[job_id] = InterruptReport(job_id, state, ended_ms, InterruptResult.ALREADY_FINAL)
            case IntentRecorded(state, worker):
                reports[job_id] = InterruptReport(job_id, state, None, InterruptResult.RECORDED)
                running[job_id] = worker
            case Exception():
                raise answer
            case _:
                reports[job_id] = InterruptReport(job_id, None, None, InterruptResult.NOT_FOUND)
    if confirm and running:
        if timeout is None:
            timeout = (yield from _longest_grace(context, list(running), grace)) + CONFIRM_S
        reports |= yield from _confirmed(context, running, timeout)
    return [reports[each] for each in ids]


def confirmed(report: InterruptReport, queue: str, timeout: float | None) -> InterruptReport:
    """Turn what a caller must not overlook into an exception.

    Raises:
        JobNotFound, InterruptNotConfirmed: As the report says.
    """
    match report.result:
        case InterruptResult.NOT_FOUND:
            raise JobNotFound(report.job_id, [queue])
        case InterruptResult.NOT_CONFIRMED:
            raise InterruptNotConfirmed(report.job_id, str(report.state), timeout, report.worker)
        case _:
            return report


def _longest_grace(context: Context, ids: Sequence[str], grace: float | None) -> Verb[float]:
    if grace is not None:
        return grace
    calls = [records.packed_spec_parts(context.keys, job_id) for job_id in ids]
    answers = iter((yield from ask_all(list(chain.from_iterable(calls)))))
    return max(DEFAULT_GRACE_S, *(records.grace([next(answers) for _ in parts]) for parts in calls))


def _confirmed(context: Context, running: dict[str, str], timeout: float) -> Verb[dict[str, InterruptReport]]:
    """Watch jobs until they have ended or the time is over."""
    reports: dict[str, InterruptReport] = {}
    waiting = dict(running)
    deadline = context.clock.monotonic() + timeout
    while True:
        seen = yield from patiently(context, [records.job_status(context.keys, each) for each in waiting], deadline)
        states = dict(zip(list(waiting), seen, strict=True))
        for job_id, look in states.items():
            if look.state is None or look.state.is_final:
                own = look.state is JobState.INTERRUPTED
                result = InterruptResult.INTERRUPTED if own else InterruptResult.ENDED_BY_ITSELF
                reports[job_id] = InterruptReport(
                    job_id, look.state, look.ended_ms, result, is_confirmed=look.is_confirmed
                )
                del waiting[job_id]
        left = deadline - context.clock.monotonic()
        if not waiting or left <= 0:
            break
        yield Hear(tuple(context.keys.events(each) for each in waiting), min(left, LOOK_AGAIN_S))
        if len(waiting) > MANY:
            # Each of them is announced; looking at all of them for each would be quadratic.
            yield Pause(min(left, BREATH_S))
    live = {worker.id for worker in (yield from live_workers(context, [context.queue]))} if waiting else set()
    for job_id in waiting:
        look = states[job_id]
        holder = look.worker if worker_of(look.lease) in live else None
        reports[job_id] = InterruptReport(job_id, look.state, None, InterruptResult.NOT_CONFIRMED, holder)
    return reports
