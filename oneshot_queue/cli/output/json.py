r"""The objects that ``--json`` prints: jobs, queues, workers, findings and interrupts. Pure.

Times are RFC 3339 in UTC with milliseconds, or ``null`` if absent. Bytes of a command that are not UTF-8 appear as
``\xNN``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from oneshot_queue.clock import rfc3339

if TYPE_CHECKING:
    from oneshot_queue import QueueCounts
    from oneshot_queue.client.doctor.findings import Finding
    from oneshot_queue.client.verbs.interrupt import InterruptReport
    from oneshot_queue.jobs import HistoryRow, JobRecord
    from oneshot_queue.wire.presences import WorkerPresence

Json = dict[str, Any]


def _timestamp(at_ms: int | None) -> str | None:
    return None if at_ms is None else rfc3339(at_ms)


def job_json(record: JobRecord) -> Json:
    """A job without its history, as ``ls --json`` prints it."""
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
        "created_at": _timestamp(record.created_ms),
        "due_at": _timestamp(record.due_ms),
        "expires_at": _timestamp(record.expires_ms),
        "started_at": _timestamp(record.started_ms),
        "ended_at": _timestamp(record.ended_ms),
        "last_output_at": _timestamp(record.last_output_ms),
        "exit_code": record.exit_code,
        "signal": record.signal,
        "time_limit_s": spec.time_limit if spec else None,
        "idle_after_s": spec.idle_after if spec else None,
        "grace_s": spec.grace if spec else None,
        "retries": spec.retries if spec else None,
        "exclusive": spec.is_exclusive if spec else None,
        "confirmed": record.is_confirmed,
        "interrupting": record.interrupting,
        "interrupt_requested_at": _timestamp(record.interrupt_requested_ms),
        "output": {"bytes": record.output.bytes, "dropped": record.output.dropped},
        "outputs_dropped": record.outputs_dropped,
        "usage": {
            "cpu_user_s": usage.cpu_user_s if usage else None,
            "cpu_system_s": usage.cpu_system_s if usage else None,
            "max_rss_bytes": usage.max_rss_bytes if usage else None,
        },
    }


def job_with_history_json(record: JobRecord) -> Json:
    """A job with its history, as ``show --json`` prints it."""
    return job_json(record) | {"history": [_history_row_json(row) for row in record.history]}


def queue_json(counts: QueueCounts) -> Json:
    """The counts of one queue."""
    states = {str(state): count for state, count in counts.states.items()}
    return {"queue": counts.queue, "states": states, "ready": counts.ready, "delayed": counts.delayed}


def worker_json(worker: WorkerPresence) -> Json:
    """One live worker."""
    return {
        "name": worker.name,
        "id": worker.id,
        "host": worker.host,
        "pid": worker.pid,
        "queues": list(worker.queues),
        "concurrency": worker.concurrency,
        "running": list(worker.running),
        "started_at": _timestamp(worker.started_ms),
        "seen_at": _timestamp(worker.seen_ms),
        "supervisor": worker.supervisor or None,
        "process": worker.process,
        "processes": worker.processes,
        "layer": worker.layer or None,
    }


def finding_json(finding: Finding) -> Json:
    """One finding of the doctor."""
    return {
        "code": finding.code,
        "severity": str(finding.severity),
        "queue": finding.queue,
        "subject": finding.subject,
        "what": finding.what,
        "meaning": finding.meaning,
        "advice": finding.advice,
        "repairable": finding.is_repairable,
        "repaired": finding.is_repaired,
        "count": finding.count,
    }


def interrupt_json(report: InterruptReport) -> Json:
    """The outcome of one interrupt."""
    return {
        "id": report.job_id,
        "state": None if report.state is None else str(report.state),
        "ended_at": _timestamp(report.ended_ms),
        "result": str(report.result),
        "confirmed": report.is_confirmed,
    }


def _history_row_json(row: HistoryRow) -> Json:
    return {
        "state": str(row.state),
        "at": _timestamp(row.at_ms),
        "attempt": row.attempt,
        "cause": row.cause,
        "by": row.by,
        "detail": row.detail,
    }


def _readable(path: str | None) -> str | None:
    from oneshot_queue.checks import os_bytes
    from oneshot_queue.jobs import text_of

    return None if path is None else text_of(os_bytes(path))
