r"""What ``--json`` prints: the forms of jobs, queues, workers and findings. Pure.

Times are RFC 3339 in UTC with milliseconds, and ``null`` where there is none. Words of a command that are no UTF-8 show
their bytes as ``\xNN``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from oneshot_queue.clock import rfc3339

if TYPE_CHECKING:
    from oneshot_queue import QueueCounts
    from oneshot_queue.client.doctor.findings import Finding
    from oneshot_queue.jobs import HistoryRow, JobRecord
    from oneshot_queue.wire.presences import WorkerPresence

Form = dict[str, Any]


def instant(at_ms: int | None) -> str | None:
    """An instant, or none."""
    return None if at_ms is None else rfc3339(at_ms)


def job_form(record: JobRecord) -> Form:
    """A job without its history, as ``ls`` lists it."""
    from oneshot_queue.jobs import text_of

    spec, usage = record.spec, record.usage
    return {
        "id": record.id,
        "queue": record.queue,
        "name": spec.name if spec else None,
        "state": str(record.state),
        "cause": None if record.cause is None else str(record.cause),
        "error": record.error,
        "reason": record.reason,
        "attempt": record.attempt,
        "command": [text_of(word) for word in spec.command] if spec else None,
        "cwd": _readable(spec.cwd) if spec else None,
        "labels": dict(spec.labels) if spec else None,
        "priority": str(spec.priority) if spec else None,
        "retry_of": spec.retry_of if spec else None,
        "worker": record.worker,
        "host": record.host,
        "pid": record.pid,
        "created_at": instant(record.created_ms),
        "due_at": instant(record.due_ms),
        "expires_at": instant(record.expires_ms),
        "started_at": instant(record.started_ms),
        "ended_at": instant(record.ended_ms),
        "last_output_at": instant(record.last_output_ms),
        "exit_code": record.exit_code,
        "signal": record.signal,
        "time_limit_s": spec.time_limit if spec else None,
        "idle_after_s": spec.idle_after if spec else None,
        "grace_s": spec.grace if spec else None,
        "retries": spec.retries if spec else None,
        "exclusive": spec.is_exclusive if spec else None,
        "confirmed": record.is_confirmed,
        "interrupting": record.interrupting,
        "interrupt_requested_at": instant(record.interrupt_requested_ms),
        "output": {"bytes": record.output.bytes, "dropped": record.output.dropped},
        "outputs_dropped": record.outputs_dropped,
        "usage": {
            "cpu_user_s": usage.cpu_user_s if usage else None,
            "cpu_system_s": usage.cpu_system_s if usage else None,
            "max_rss_bytes": usage.max_rss_bytes if usage else None,
        },
    }


def whole_job_form(record: JobRecord) -> Form:
    """A job with its history, as ``show`` shows it."""
    return job_form(record) | {"history": [_row_form(row) for row in record.history]}


def queue_form(counts: QueueCounts) -> Form:
    """A queue's counts."""
    states = {str(state): count for state, count in counts.states.items()}
    return {"queue": counts.queue, "states": states, "ready": counts.ready, "delayed": counts.delayed}


def worker_form(worker: WorkerPresence) -> Form:
    """A live worker."""
    return {
        "name": worker.name,
        "id": worker.id,
        "host": worker.host,
        "pid": worker.pid,
        "queues": list(worker.queues),
        "concurrency": worker.concurrency,
        "running": list(worker.running),
        "started_at": instant(worker.started_ms),
        "seen_at": instant(worker.seen_ms),
        "supervisor": worker.supervisor or None,
        "process": worker.process,
        "processes": worker.processes,
        "layer": worker.layer or None,
    }


def finding_form(finding: Finding) -> Form:
    """What the doctor found."""
    return {
        "code": finding.code,
        "severity": str(finding.severity),
        "queue": finding.queue,
        "subject": finding.subject,
        "what": finding.what,
        "meaning": finding.meaning,
        "advice": finding.advice,
        "mendable": finding.is_repairable,
        "mended": finding.is_repaired,
        "count": finding.count,
    }


def _row_form(row: HistoryRow) -> Form:
    return {
        "state": str(row.state),
        "at": instant(row.at_ms),
        "attempt": row.attempt,
        "cause": row.cause,
        "by": row.by,
        "detail": row.detail,
    }


def _readable(path: str | None) -> str | None:
    from oneshot_queue.checks import os_bytes
    from oneshot_queue.jobs import text_of

    return None if path is None else text_of(os_bytes(path))
