"""A distributed queue for commands: enqueue an argv, run it on any machine, follow it, interrupt it.

::

    from oneshot_queue import Queue

    async with Queue("redis://localhost") as queue:
        job = await queue.enqueue(["make", "-j4"], time_limit=600)
        async for chunk in job.output(follow=True):
            print(chunk.data.decode(errors="replace"), end="")
        outcome = await job.wait()
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from oneshot_queue._version import __version__

if TYPE_CHECKING:
    from oneshot_queue.client.async_queue import Job, Queue
    from oneshot_queue.client.attention import Unattended
    from oneshot_queue.client.doctor.findings import Finding, Severity
    from oneshot_queue.client.options import JobOptions
    from oneshot_queue.client.sync_queue import SyncJob, SyncQueue
    from oneshot_queue.client.verbs.interrupt import InterruptReport, InterruptResult
    from oneshot_queue.client.verbs.logs import OutputChunk
    from oneshot_queue.errors import (
        AmbiguousJobId,
        BrokerError,
        BrokerNotConfigured,
        BrokerRefused,
        BrokerUnreachable,
        InterruptNotConfirmed,
        InvalidBrokerUrl,
        InvalidJob,
        InvalidSetting,
        JobAlreadyFinal,
        JobError,
        JobNotFound,
        LoopAlreadyRunning,
        MalformedData,
        OneshotQueueError,
        QueueClosed,
        QueueFull,
        WaitTimedOut,
    )
    from oneshot_queue.jobs import JobRecord
    from oneshot_queue.outcomes import Captured, Cause, Outcome, Usage
    from oneshot_queue.settings import Settings
    from oneshot_queue.spec import JobSpec, Priority
    from oneshot_queue.states import JobState
    from oneshot_queue.store.queues import QueueCounts
    from oneshot_queue.task_events import OutputStream
    from oneshot_queue.wire.presences import WorkerPresence
    from oneshot_queue.workers.orchestrator import AsyncOrchestrator, run_commands
    from oneshot_queue.workers.task import OneshotTask

__all__ = [
    "AmbiguousJobId",
    "AsyncOrchestrator",
    "BrokerError",
    "BrokerNotConfigured",
    "BrokerRefused",
    "BrokerUnreachable",
    "Captured",
    "Cause",
    "Finding",
    "InterruptNotConfirmed",
    "InterruptReport",
    "InterruptResult",
    "InvalidBrokerUrl",
    "InvalidJob",
    "InvalidSetting",
    "Job",
    "JobAlreadyFinal",
    "JobError",
    "JobNotFound",
    "JobOptions",
    "JobRecord",
    "JobSpec",
    "JobState",
    "LoopAlreadyRunning",
    "MalformedData",
    "OneshotQueueError",
    "OneshotTask",
    "Outcome",
    "OutputChunk",
    "OutputStream",
    "Priority",
    "Queue",
    "QueueClosed",
    "QueueCounts",
    "QueueFull",
    "Settings",
    "Severity",
    "SyncJob",
    "SyncQueue",
    "Unattended",
    "Usage",
    "WaitTimedOut",
    "WorkerPresence",
    "__version__",
    "run_commands",
]

_HOMES: Final = {
    "QueueCounts": "oneshot_queue.store.queues",
    "JobOptions": "oneshot_queue.client.options",
    "WorkerPresence": "oneshot_queue.wire.presences",
    "AsyncOrchestrator": "oneshot_queue.workers.orchestrator",
    "run_commands": "oneshot_queue.workers.orchestrator",
    "OneshotTask": "oneshot_queue.workers.task",
    "Captured": "oneshot_queue.outcomes",
    "Job": "oneshot_queue.client.async_queue",
    "Queue": "oneshot_queue.client.async_queue",
    "SyncJob": "oneshot_queue.client.sync_queue",
    "SyncQueue": "oneshot_queue.client.sync_queue",
    "Finding": "oneshot_queue.client.doctor.findings",
    "Severity": "oneshot_queue.client.doctor.findings",
    "OutputChunk": "oneshot_queue.client.verbs.logs",
    "InterruptReport": "oneshot_queue.client.verbs.interrupt",
    "InterruptResult": "oneshot_queue.client.verbs.interrupt",
    "Unattended": "oneshot_queue.client.attention",
    "AmbiguousJobId": "oneshot_queue.errors",
    "BrokerError": "oneshot_queue.errors",
    "BrokerNotConfigured": "oneshot_queue.errors",
    "BrokerRefused": "oneshot_queue.errors",
    "BrokerUnreachable": "oneshot_queue.errors",
    "InterruptNotConfirmed": "oneshot_queue.errors",
    "InvalidBrokerUrl": "oneshot_queue.errors",
    "InvalidJob": "oneshot_queue.errors",
    "InvalidSetting": "oneshot_queue.errors",
    "JobAlreadyFinal": "oneshot_queue.errors",
    "JobError": "oneshot_queue.errors",
    "JobNotFound": "oneshot_queue.errors",
    "LoopAlreadyRunning": "oneshot_queue.errors",
    "MalformedData": "oneshot_queue.errors",
    "OneshotQueueError": "oneshot_queue.errors",
    "QueueClosed": "oneshot_queue.errors",
    "QueueFull": "oneshot_queue.errors",
    "WaitTimedOut": "oneshot_queue.errors",
    "OutputStream": "oneshot_queue.task_events",
    "Cause": "oneshot_queue.outcomes",
    "JobRecord": "oneshot_queue.jobs",
    "JobSpec": "oneshot_queue.spec",
    "Outcome": "oneshot_queue.outcomes",
    "Priority": "oneshot_queue.spec",
    "Usage": "oneshot_queue.outcomes",
    "Settings": "oneshot_queue.settings",
    "JobState": "oneshot_queue.states",
}


def __getattr__(name: str) -> Any:
    # Loaded when first asked for: the command line must not wait for a Redis client to say its version.
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return globals().setdefault(name, getattr(import_module(_HOMES[name]), name))


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
