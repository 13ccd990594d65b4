"""The verb that interrupts jobs and waits until their processes are gone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import chain
from typing import Final

from oneshot_queue.checks import checked_duration
from oneshot_queue.client.effects import (
    Context,
    RunCalls,
    Sleep,
    Verb,
    read_with_retries,
    run_calls,
    wait_for_message,
)
from oneshot_queue.client.presences import live_workers
from oneshot_queue.errors import InterruptNotConfirmed, InvalidJob, InvalidSetting, JobNotFound
from oneshot_queue.spec import DEFAULT_GRACE_S
from oneshot_queue.states import JobState
from oneshot_queue.store import records, steering
from oneshot_queue.store.leases import worker_of
from oneshot_queue.store.steering import AlreadyFinal, Ended, IntentRecorded

LARGE_BATCH: Final = 20
"""While more jobs than this are awaited, announcements are collected for ``COALESCE_S`` before the jobs are read."""
COALESCE_S: Final = 0.1
CONFIRM_S: Final = 20.0
"""By default, how many seconds beyond the grace period to wait for confirmation."""


class InterruptResult(StrEnum):
    """The result of an interrupt.

    ``interrupted``: the job has ended as INTERRUPTED. ``recorded``: the request is stored; the caller did not ask to
    wait. ``already_final``: the job had ended before. ``ended_by_itself``: it ended in another way while we waited.
    ``not_confirmed``: the request is stored, but the job did not end in time. ``not_found``: there is no such job.
    """

    INTERRUPTED = "interrupted"
    RECORDED = "recorded"
    ALREADY_FINAL = "already_final"
    ENDED_BY_ITSELF = "ended_by_itself"
    NOT_CONFIRMED = "not_confirmed"
    NOT_FOUND = "not_found"


@dataclass(frozen=True, slots=True)
class InterruptReport:
    """The result of interrupting one job.

    Attributes:
        state: The job's state; ``None`` if there is no such job.
        ended_ms: When the job ended, in ms since 1970; ``None`` if it has not.
        result: What happened.
        worker: Name of the live worker that holds the job and has not confirmed the interrupt.
        is_confirmed: False if the job's worker is gone and the job was settled without it, so that processes of the
            job may be left.
    """

    job_id: str
    state: JobState | None
    ended_ms: int | None
    result: InterruptResult
    worker: str | None = None
    is_confirmed: bool = True


def interrupt_jobs(
    context: Context,
    ids: Sequence[str],
    *,
    grace: float | None = None,
    reason: str | None = None,
    confirm: bool = True,
    timeout: float | None = None,
) -> Verb[list[InterruptReport]]:
    """Interrupt jobs, by their full ids, and wait until none of them has a process left.

    Args:
        grace: Seconds between SIGTERM and SIGKILL; by default each job's own.
        confirm: Whether to wait. If not, the result of a running job is ``recorded``.
        timeout: Seconds to wait; by default the longest grace period plus 20 seconds.

    Raises:
        InvalidSetting: The grace is invalid; nothing was written.
    """
    try:
        grace = checked_duration("grace", grace)
    except InvalidJob as refusal:
        raise InvalidSetting("grace", refusal.problem) from None
    reports: dict[str, InterruptReport] = {}
    running: dict[str, str] = {}
    unique_ids = list(dict.fromkeys(ids))
    calls = [
        steering.interrupt(context.keys, each, grace=grace, by=context.by, reason=reason, settings=context.settings)
        for each in unique_ids
    ]
    for job_id, answer in zip(unique_ids, (yield RunCalls(calls)), strict=True):
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
        reports |= yield from _wait_until_ended(context, running, timeout)
    return [reports[each] for each in ids]


def require_confirmation(report: InterruptReport, queue: str, timeout: float | None) -> InterruptReport:
    """Return the report, or raise if there is no such job or its end was not confirmed.

    Raises:
        JobNotFound: There is no such job.
        InterruptNotConfirmed: The request is stored, but the job did not end in time.
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
    answers = iter((yield from run_calls(list(chain.from_iterable(calls)))))
    return max(DEFAULT_GRACE_S, *(records.grace([next(answers) for _ in parts]) for parts in calls))


def _wait_until_ended(context: Context, running: dict[str, str], timeout: float) -> Verb[dict[str, InterruptReport]]:
    """Wait until jobs have ended, or for ``timeout`` seconds."""
    reports: dict[str, InterruptReport] = {}
    waiting = dict(running)
    deadline = context.clock.monotonic() + timeout
    while True:
        seen = yield from read_with_retries(
            context, [records.job_status(context.keys, each) for each in waiting], deadline
        )
        states = dict(zip(list(waiting), seen, strict=True))
        for job_id, job_status in states.items():
            if job_status.state is None or job_status.state.is_final:
                was_interrupted = job_status.state is JobState.INTERRUPTED
                result = InterruptResult.INTERRUPTED if was_interrupted else InterruptResult.ENDED_BY_ITSELF
                reports[job_id] = InterruptReport(
                    job_id, job_status.state, job_status.ended_ms, result, is_confirmed=job_status.is_confirmed
                )
                del waiting[job_id]
        left_s = deadline - context.clock.monotonic()
        if not waiting or left_s <= 0:
            break
        yield from wait_for_message((context.keys.events(each) for each in waiting), left_s)
        if len(waiting) > LARGE_BATCH:
            # Every end is announced; reading all remaining jobs after each announcement would be quadratic.
            yield Sleep(min(left_s, COALESCE_S))
    live = {worker.id for worker in (yield from live_workers(context, [context.queue]))} if waiting else set()
    for job_id in waiting:
        job_status = states[job_id]
        holder = job_status.worker if worker_of(job_status.lease) in live else None
        reports[job_id] = InterruptReport(job_id, job_status.state, None, InterruptResult.NOT_CONFIRMED, holder)
    return reports
