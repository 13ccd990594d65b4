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
    from oneshot_queue.client.aio import Job, Queue
    from oneshot_queue.client.blocking import SyncJob, SyncQueue
    from oneshot_queue.client.doctor.findings import Finding, Severity
    from oneshot_queue.client.reading import OutputChunk
    from oneshot_queue.client.watching import InterruptReport, InterruptResult, Unattended
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
    from oneshot_queue.events import OutputStream
    from oneshot_queue.jobs import Cause, JobRecord, JobSpec, Outcome, Priority, Usage
    from oneshot_queue.settings import Settings
    from oneshot_queue.states import JobState

__all__ = [
    "AmbiguousJobId",
    "BrokerError",
    "BrokerNotConfigured",
    "BrokerRefused",
    "BrokerUnreachable",
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
    "JobRecord",
    "JobSpec",
    "JobState",
    "LoopAlreadyRunning",
    "MalformedData",
    "OneshotQueueError",
    "Outcome",
    "OutputChunk",
    "OutputStream",
    "Priority",
    "Queue",
    "QueueClosed",
    "QueueFull",
    "Settings",
    "Severity",
    "SyncJob",
    "SyncQueue",
    "Unattended",
    "Usage",
    "WaitTimedOut",
    "__version__",
]

_HOMES: Final = {
    "Job": "oneshot_queue.client.aio",
    "Queue": "oneshot_queue.client.aio",
    "SyncJob": "oneshot_queue.client.blocking",
    "SyncQueue": "oneshot_queue.client.blocking",
    "Finding": "oneshot_queue.client.doctor.findings",
    "Severity": "oneshot_queue.client.doctor.findings",
    "OutputChunk": "oneshot_queue.client.reading",
    "InterruptReport": "oneshot_queue.client.watching",
    "InterruptResult": "oneshot_queue.client.watching",
    "Unattended": "oneshot_queue.client.watching",
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
    "OutputStream": "oneshot_queue.events",
    "Cause": "oneshot_queue.jobs",
    "JobRecord": "oneshot_queue.jobs",
    "JobSpec": "oneshot_queue.jobs",
    "Outcome": "oneshot_queue.jobs",
    "Priority": "oneshot_queue.jobs",
    "Usage": "oneshot_queue.jobs",
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
