"""Runs one worker in this process, from its options to its exit code."""

from __future__ import annotations

import logging
import sys
from typing import Final

import anyio

from oneshot_queue.errors import BrokerError, OneshotQueueError
from workers.report import Report, printable
from workers.worker import Worker, WorkerOptions

BROKER_EXIT_CODE: Final = 5
USAGE_EXIT_CODE: Final = 2

__all__ = ["WorkerOptions", "run_worker"]


class _SafeFormatter(logging.Formatter):
    """What is logged may quote a job, and its words are anybody's: a terminal must not act on them."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the name is logging's
        return printable(super().formatMessage(record))


def run_worker(options: WorkerOptions) -> int:
    """Run a worker until it is stopped; in burst mode until its queues are empty.

    Returns:
        0 when it stopped as it was asked to, 5 if the broker is out of reach or refuses, 2 if an option makes no sense.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_SafeFormatter("%(asctime)s %(levelname)s %(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    report = Report(is_quiet=options.is_quiet)
    try:
        anyio.run(Worker(options, report=report).run, backend="asyncio")
    except BaseExceptionGroup as group:
        return _exit_code(group, report)
    except OneshotQueueError as problem:
        report.warn(f"worker: {problem}")
        return BROKER_EXIT_CODE if isinstance(problem, BrokerError) else USAGE_EXIT_CODE
    return 0


def _exit_code(group: BaseExceptionGroup[BaseException], report: Report) -> int:
    expected, surprises = group.split(BrokerError)
    if surprises is not None or expected is None:
        raise group
    report.warn(f"worker: {expected.exceptions[0]}")
    return BROKER_EXIT_CODE
