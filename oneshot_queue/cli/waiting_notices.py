"""Notices about a job that makes no progress because no live worker runs it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from oneshot_queue.cli.arguments.destination import Destination
from oneshot_queue.cli.output.terminal import print_message

if TYPE_CHECKING:
    from oneshot_queue.client.attention import OnUnattended, Unattended


def unattended_notice(destination: Destination) -> OnUnattended:
    """A callback that prints why a job that the user waits for makes no progress."""

    def print_notice(news: Unattended) -> None:
        if news.worker is None:
            print_no_worker_notice(destination, news.queue)
        else:
            print_message(f"job {news.job_id}: its worker {news.worker} is not responding")

    return print_notice


def print_no_worker_notice(destination: Destination, queue: str) -> None:
    """Print that a queue has no live worker, and how to start one."""
    print_message(f"no live worker on queue {queue}; start one with: {destination.worker_command(queue)}")
