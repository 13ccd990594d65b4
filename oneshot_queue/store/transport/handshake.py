"""The first commands on a new connection: is this the right server, and which run of it?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import redis

from oneshot_queue.errors import BrokerRefused
from oneshot_queue.store.calls import Word
from oneshot_queue.store.transport.refusals import OLD_SERVER_ADVICE
from oneshot_queue.store.transport.server_facts import QUESTIONS, ServerFacts, read_facts, version_problem
from oneshot_queue.urls import shown_url

_ROLE: Final[tuple[Word, ...]] = ("ROLE",)


class NoLongerPrimary(redis.ConnectionError):
    """A server that the sentinels named as the primary reports another role."""

    def __init__(self) -> None:
        super().__init__("it is no longer the primary, and the sentinels do not name another one yet")


class Handshake:
    """Checks one server on every new connection, and detects that it has restarted.

    Args:
        is_primary_needed: Reject a server that is not a primary.
        asks_for_facts: Ask for ``ServerFacts``, and reject a server that is too old.
    """

    def __init__(self, url: str, *, is_primary_needed: bool = False, asks_for_facts: bool = False) -> None:
        self.url = url
        self._is_primary_needed = is_primary_needed
        self._asks_for_facts = asks_for_facts
        self.facts: ServerFacts | None = None

    def requests(self, *, is_listener: bool) -> tuple[tuple[Word, ...], ...]:
        """Return the commands to send on a new connection; listeners skip the server facts."""
        role = (_ROLE,) if self._is_primary_needed else ()
        return role if is_listener or not self._asks_for_facts else (*role, *QUESTIONS)

    def check(self, replies: Sequence[Any], *, is_listener: bool) -> ServerFacts | None:
        """Check the replies; returns the facts if this run of the server is new, else ``None``.

        Raises:
            NoLongerPrimary: The server is a replica or a sentinel.
            BrokerRefused: The server is too old.
        """
        replies = list(replies)
        if self._is_primary_needed:
            match replies.pop(0):
                case [b"slave" | b"sentinel", *_]:
                    raise NoLongerPrimary
        if is_listener or not self._asks_for_facts:
            return None
        facts = read_facts(replies)
        if problem := version_problem(facts):
            raise BrokerRefused(shown_url(self.url), problem, OLD_SERVER_ADVICE, needs_person=True)
        is_new = self.facts is None or self.facts.run_id != facts.run_id
        self.facts = facts
        return facts if is_new else None
