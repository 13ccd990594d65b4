"""Which broker a verb talks to, and the connection to it.

The broker is the one of ``--url``, else of ``ONESHOT_QUEUE_URL``, else this user's local broker, started on demand.
"""

from __future__ import annotations

import shlex
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from oneshot_queue.errors import BrokerUnreachable, OneshotQueueError

if TYPE_CHECKING:
    from oneshot_queue.client.sync_queue import SyncQueue
    from oneshot_queue.settings import Settings

DEFAULT_QUEUE: Final = "default"
FIRST_ANSWER_S: Final = 4.0


@dataclass(frozen=True, slots=True)
class Destination:
    """The broker of one verb.

    Attributes:
        settings: All settings; ``settings.url`` is the broker's URL.
        is_local: Whether it is the user's local broker, for which only this user can start workers.
        is_named: Whether ``--url`` named it, so that other command lines need ``--url`` too.
    """

    settings: Settings
    is_local: bool
    is_named: bool = False

    @property
    def url(self) -> str:
        """The broker's URL, including any password."""
        return self.settings.url or ""

    @property
    def url_option(self) -> str:
        """The ``--url`` option that other command lines need, without the password; empty if none is needed."""
        if not self.is_named:
            return ""
        from oneshot_queue.urls import shown_url

        return f"--url {shlex.quote(shown_url(self.url))} "

    def worker_command(self, queue: str) -> str:
        """A command line that starts a worker for a queue of this broker."""
        return f"oneshot-queue {self.url_option}worker -q {shlex.quote(queue)}"


def destination_for(url: str | None) -> Destination:
    """Choose the broker; start the local broker if no URL is given.

    Raises:
        InvalidSetting: An environment variable ``ONESHOT_QUEUE_…`` is invalid.
        BrokerError: The local broker cannot be started.
    """
    from oneshot_queue.settings import Settings

    settings = Settings.from_env()
    if url is not None:
        return Destination(replace(settings, url=url), is_local=False, is_named=True)
    if settings.url is not None:
        return Destination(settings, is_local=False)
    from oneshot_queue.local_broker import ensure_running

    return Destination(replace(settings, url=ensure_running().url), is_local=True)


@contextmanager
def open_queue(destination: Destination, queue: str | None = None) -> Iterator[SyncQueue]:
    """Open a queue once the broker has answered.

    Raises:
        BrokerError: The broker does not answer within ``FIRST_ANSWER_S``, or refuses.
    """
    from oneshot_queue.cli.output.library_log import print_library_warnings
    from oneshot_queue.client.sync_queue import SyncQueue

    print_library_warnings()
    with SyncQueue(queue=queue or DEFAULT_QUEUE, settings=destination.settings) as opened:
        # The local broker answered when it was looked up.
        if not destination.is_local:
            _check_that_it_answers(opened, destination.url)
        yield opened


def _check_that_it_answers(queue: SyncQueue, url: str) -> None:
    # In a thread: a DNS lookup can take any time, and neither a timeout nor a signal ends it.
    problems: list[OneshotQueueError] = []

    def ask() -> None:
        try:
            queue.ping()
        except OneshotQueueError as problem:
            problems.append(problem)

    check = threading.Thread(target=ask, daemon=True)
    check.start()
    check.join(FIRST_ANSWER_S)
    if problems:
        raise problems[0]
    if check.is_alive():
        from oneshot_queue.urls import shown_url

        raise BrokerUnreachable(shown_url(url), f"no answer within {FIRST_ANSWER_S:g} s")
