"""What is said to somebody who would otherwise wait in silence."""

from __future__ import annotations

from typing import TYPE_CHECKING

from oneshot_queue.cli.arguments.destination import Destination
from oneshot_queue.cli.output.terminal import say

if TYPE_CHECKING:
    from oneshot_queue.client.attention import OnUnattended, Unattended


def nobody_works_on_it(broker: Destination) -> OnUnattended:
    """The callback that says why a job that is waited for does not go on."""

    def tell(news: Unattended) -> None:
        if news.worker is None:
            no_worker(broker, news.queue)
        else:
            say(f"job {news.job_id}: worker {news.worker} holds it and gives no sign of life")

    return tell


def no_worker(broker: Destination, queue: str) -> None:
    """Say that a queue has no live worker, and how to start one."""
    say(f"no live worker on queue {queue}, so the job waits; start one with: {broker.how_to_start_a_worker(queue)}")
