"""One worker process: ``python -P -m oneshot_queue.workers.worker N``, where N is the descriptor of its channel.

Only a supervisor starts it, and sends it an ``Assignment``; people start ``oneshot-queue worker`` instead.
"""

from __future__ import annotations

import gc
import logging
import os
import sys
from types import TracebackType
from typing import Final, Literal

import anyio

from oneshot_queue.errors import BrokerError, OneshotQueueError
from oneshot_queue.telemetry.logging import configure
from oneshot_queue.workers.ipc.channel import Channel
from oneshot_queue.workers.ipc.console import Console
from oneshot_queue.workers.ipc.journal import Journal
from oneshot_queue.workers.ipc.messages import Assignment
from oneshot_queue.workers.processes import cgroup
from oneshot_queue.workers.processes.procfs import status_of
from oneshot_queue.workers.worker.supervisor_link import SupervisorLink
from oneshot_queue.workers.worker.wiring import build_worker

BROKER_EXIT_CODE: Final = 5
USAGE_EXIT_CODE: Final = 2

logger = logging.getLogger(__name__)


def run_worker_process(channel: Channel) -> int:
    """Run a worker until it is stopped or has nothing left to do.

    Returns:
        0 if it stopped as asked, 5 if the broker cannot be reached or refuses, 2 if an option is invalid.
    """
    os.set_blocking(channel.fileno(), True)
    received = channel.receive()
    os.set_blocking(channel.fileno(), False)
    if received is None:
        return 0
    assignment, files = received
    assert isinstance(assignment, Assignment)
    options = assignment.options
    configure(options.log_format, options.log_level, worker=options.name)
    logging.captureWarnings(True)
    sys.excepthook = _log_crash
    # The lock of the worker dir, if there is one, stays open as long as this process lives; nothing here uses it.
    journal = Journal.open(files[0])
    own = status_of(os.getpid())
    journal.set_process(os.getpid(), own.started if own else 0)
    is_contained = assignment.cgroup is not None and cgroup.enter(assignment.cgroup)
    containment: Literal["cgroup", "subreaper"] = "cgroup" if is_contained else "subreaper"
    link = SupervisorLink(channel)
    # The modules loaded so far are never freed: without this, every garbage collection would scan them.
    gc.freeze()
    try:
        worker = build_worker(assignment, link=link, journal=journal, containment=containment)
        anyio.run(worker.run, backend="asyncio")
    except BaseExceptionGroup as group:
        return _exit_code(group, link)
    except OneshotQueueError as problem:
        return _fail(link, problem)
    return 0


def _exit_code(group: BaseExceptionGroup[BaseException], link: SupervisorLink) -> int:
    expected, surprises = group.split(BrokerError)
    if surprises is not None or expected is None:
        raise group
    first: BaseException = expected
    while isinstance(first, BaseExceptionGroup):
        first = first.exceptions[0]
    return _fail(link, first)


def _fail(link: SupervisorLink, problem: BaseException) -> int:
    code, needs_person = USAGE_EXIT_CODE, True
    if isinstance(problem, BrokerError):
        code, needs_person = BROKER_EXIT_CODE, problem.needs_person
    # The supervisor reports it once for all its workers.
    if not link.failed(code, str(problem), needs_person=needs_person):
        Console(is_quiet=False).warn(f"worker: {problem}")
    return code


def _log_crash(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
    # Log it, do not print it: with ``--log-format json``, every line that this process writes is a JSON object.
    logger.critical("the worker process crashed", exc_info=(kind, error, traceback))


if __name__ == "__main__":
    sys.exit(run_worker_process(Channel.inherited(int(sys.argv[1]))))
