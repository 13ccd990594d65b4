"""A distributed queue for commands: enqueue an argv, run it on any machine, follow it, interrupt it.

The names in ``__all__`` are the public interface. Each is loaded on first use, and none by importing the package.

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

_EXPORTS: Final = {
    "oneshot_queue.client.async_queue": ("Job", "Queue"),
    "oneshot_queue.client.attention": ("Unattended",),
    "oneshot_queue.client.doctor.findings": ("Finding", "Severity"),
    "oneshot_queue.client.options": ("JobOptions",),
    "oneshot_queue.client.sync_queue": ("SyncJob", "SyncQueue"),
    "oneshot_queue.client.verbs.interrupt": ("InterruptReport", "InterruptResult"),
    "oneshot_queue.client.verbs.logs": ("OutputChunk",),
    "oneshot_queue.errors": (
        "AmbiguousJobId",
        "BrokerError",
        "BrokerNotConfigured",
        "BrokerRefused",
        "BrokerUnreachable",
        "InterruptNotConfirmed",
        "InvalidBrokerUrl",
        "InvalidJob",
        "InvalidSetting",
        "JobAlreadyFinal",
        "JobError",
        "JobNotFound",
        "LoopAlreadyRunning",
        "MalformedData",
        "OneshotQueueError",
        "QueueClosed",
        "QueueFull",
        "WaitTimedOut",
    ),
    "oneshot_queue.jobs": ("JobRecord",),
    "oneshot_queue.outcomes": ("Captured", "Cause", "Outcome", "Usage"),
    "oneshot_queue.settings": ("Settings",),
    "oneshot_queue.spec": ("JobSpec", "Priority"),
    "oneshot_queue.states": ("JobState",),
    "oneshot_queue.store.queues": ("QueueCounts",),
    "oneshot_queue.task_events": ("OutputStream",),
    "oneshot_queue.wire.presences": ("WorkerPresence",),
    "oneshot_queue.workers.orchestrator": ("AsyncOrchestrator", "run_commands"),
    "oneshot_queue.workers.task": ("OneshotTask",),
}
"""The public names of each module. A type checker sees the imports above instead; a test compares the two."""
_MODULE_OF: Final = {name: module for module, names in _EXPORTS.items() for name in names}


def __getattr__(name: str) -> Any:
    # Imported on first use: `oneshot-queue --version` must not wait for a Redis client to load.
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return globals().setdefault(name, getattr(import_module(_MODULE_OF[name]), name))


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
