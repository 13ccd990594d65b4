"""What is asked of a server on a new connection before anything else: whether it is the right one, and which it is."""

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
    """A server that was found as the primary says that it is none."""

    def __init__(self) -> None:
        super().__init__("it is no primary any more, and the sentinels name no other yet")


class Handshake:
    """Meets one server again and again, and notices when it is another run of it.

    Args:
        is_primary_needed: A server that is none is turned down.
        asks_for_facts: Whether somebody wants to know which run of which server it is.
    """

    def __init__(self, url: str, *, is_primary_needed: bool = False, asks_for_facts: bool = False) -> None:
        self.url = url
        self._is_primary_needed = is_primary_needed
        self._asks_for_facts = asks_for_facts
        self.facts: ServerFacts | None = None

    def questions(self, *, is_listener: bool) -> tuple[tuple[Word, ...], ...]:
        """What to say on a new connection; who only listens does not ask for facts."""
        role = (_ROLE,) if self._is_primary_needed else ()
        return role if is_listener or not self._asks_for_facts else (*role, *QUESTIONS)

    def take_in(self, replies: Sequence[Any], *, is_listener: bool) -> ServerFacts | None:
        """Judge the answers, before the connection carries anything else; the facts, if this run of it is new.

        Raises:
            NoLongerPrimary: It is a replica.
            BrokerRefused: It is too old.
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
        is_news = self.facts is None or self.facts.run_id != facts.run_id
        self.facts = facts
        return facts if is_news else None
