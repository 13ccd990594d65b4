"""One worker process: ``python -P -m oneshot_queue.workers.worker N``, told what to be over the channel that is fd N.

Only a supervisor starts it; people start ``oneshot-queue worker``.
"""

from __future__ import annotations

import gc
import logging
import os
import sys
from typing import Final

import anyio

from oneshot_queue.errors import BrokerError, OneshotQueueError
from oneshot_queue.workers.ipc.channel import Channel
from oneshot_queue.workers.ipc.console import Console, printable
from oneshot_queue.workers.ipc.journal import Journal
from oneshot_queue.workers.ipc.messages import Assignment
from oneshot_queue.workers.processes import cgroup
from oneshot_queue.workers.processes.procfs import status_of
from oneshot_queue.workers.worker.supervisor_link import SupervisorLink
from oneshot_queue.workers.worker.worker import Worker

BROKER_EXIT_CODE: Final = 5
USAGE_EXIT_CODE: Final = 2


class _SafeFormatter(logging.Formatter):
    """What is logged may quote a job, and its words are anybody's: a terminal must not act on them."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the name is logging's
        return printable(super().formatMessage(record))


def run_worker_process(channel: Channel) -> int:
    """Be a worker until stopped, or until there is nothing left to do.

    Returns:
        0 when it stopped as it was asked to, 5 if the broker is out of reach or refuses, 2 if an option makes no sense.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_SafeFormatter("%(asctime)s %(levelname)s %(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    os.set_blocking(channel.fileno(), True)
    received = channel.receive()
    os.set_blocking(channel.fileno(), False)
    if received is None:
        return 0
    assignment, files = received
    assert isinstance(assignment, Assignment)
    # The lock of the folder, if there is one, stays open as long as this process lives; it needs no name.
    notes = Journal.open(files[0])
    own = status_of(os.getpid())
    notes.set_process(os.getpid(), own.started if own else 0)
    layer = "cgroup" if assignment.cgroup is not None and cgroup.enter(assignment.cgroup) else "subreaper"
    link = SupervisorLink(channel)
    # What is loaded by now stays; looking through it again and again for garbage would cost every job.
    gc.freeze()
    try:
        anyio.run(Worker(assignment, link=link, notes=notes, layer=layer).run, backend="asyncio")
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
    # The supervisor says it once for all its workers.
    if not link.failed(code, str(problem), needs_person=needs_person):
        Console(is_quiet=False).warn(f"worker: {problem}")
    return code


if __name__ == "__main__":
    sys.exit(run_worker_process(Channel.inherited(int(sys.argv[1]))))
