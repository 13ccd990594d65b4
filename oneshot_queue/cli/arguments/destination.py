"""Which broker a verb talks to, and the first contact with it.

``--url`` before or after the verb, else ``ONESHOT_QUEUE_URL``, else this user's own local broker, started on demand.
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
FIRST_CONTACT_S: Final = 4.0


@dataclass(frozen=True, slots=True)
class Destination:
    """The broker of one verb.

    Attributes:
        settings: All limits and names; ``settings.url`` is the broker's.
        is_local: Whether it is the user's own, with nobody but this user to start workers for it.
        is_named: Whether the command line named it, and another command line has to.
    """

    settings: Settings
    is_local: bool
    is_named: bool = False

    @property
    def url(self) -> str:
        """Its address, with the password if there is one."""
        return self.settings.url or ""

    @property
    def option(self) -> str:
        """What a command line needs to reach the same broker, password hidden; empty where nothing is needed."""
        if not self.is_named:
            return ""
        from oneshot_queue.urls import shown_url

        return f"--url {shlex.quote(shown_url(self.url))} "

    def how_to_start_a_worker(self, queue: str) -> str:
        """The command that a person can start."""
        return f"oneshot-queue {self.option}worker -q {shlex.quote(queue)}"


def broker_for(url: str | None) -> Destination:
    """Find the broker, and start the local one if no other was named.

    Raises:
        InvalidSetting: An environment variable ``ONESHOT_QUEUE_…`` makes no sense.
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
def connected(broker: Destination, queue: str | None = None) -> Iterator[SyncQueue]:
    """A queue of this broker, after the broker has shown that it answers.

    Raises:
        BrokerError: It does not answer within ``FIRST_CONTACT_S``, or refuses.
    """
    from oneshot_queue.cli.output.library_log import say_what_is_logged
    from oneshot_queue.client.sync_queue import SyncQueue

    say_what_is_logged()
    with SyncQueue(queue=queue or DEFAULT_QUEUE, settings=broker.settings) as opened:
        # A local broker has just answered.
        if not broker.is_local:
            _make_first_contact(opened, broker.url)
        yield opened


def _make_first_contact(queue: SyncQueue, url: str) -> None:
    # In a thread: looking a name up takes as long as it likes, and neither a time limit nor a signal ends it.
    problems: list[OneshotQueueError] = []

    def ask() -> None:
        try:
            queue.ping()
        except OneshotQueueError as problem:
            problems.append(problem)

    contact = threading.Thread(target=ask, daemon=True)
    contact.start()
    contact.join(FIRST_CONTACT_S)
    if problems:
        raise problems[0]
    if contact.is_alive():
        from oneshot_queue.urls import shown_url

        raise BrokerUnreachable(shown_url(url), f"no answer within {FIRST_CONTACT_S:g} s")
