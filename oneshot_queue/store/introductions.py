"""What is asked of a server on a new connection before anything else: whether it is the right one, and which it is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import redis

from oneshot_queue.errors import BrokerRefused
from oneshot_queue.store.calls import Word
from oneshot_queue.store.refusals import OLD_SERVER_ADVICE, shown_url
from oneshot_queue.store.server_facts import QUESTIONS, ServerFacts, read_facts, version_problem

_ROLE: Final[tuple[Word, ...]] = ("ROLE",)

OnServer = Callable[[ServerFacts], None]


class NoLongerPrimary(redis.ConnectionError):
    """A server that was found as the primary says that it is none."""

    def __init__(self) -> None:
        super().__init__("it is no primary any more, and the sentinels name no other yet")


class Introduction:
    """Meets one server again and again, and notices when it is another run of it.

    Args:
        is_primary_needed: A server that is none is turned down.
        on_server: Told whenever a run is seen that is not the last one; ``None``: nobody wants to know.
    """

    def __init__(self, url: str, *, is_primary_needed: bool = False, on_server: OnServer | None = None) -> None:
        self._url = url
        self._is_primary_needed = is_primary_needed
        self._on_server = on_server
        self.facts: ServerFacts | None = None

    def questions(self, *, is_listener: bool) -> tuple[tuple[Word, ...], ...]:
        """What to say on a new connection; who only listens does not ask for facts."""
        role = (_ROLE,) if self._is_primary_needed else ()
        return role if self._on_server is None or is_listener else (*role, *QUESTIONS)

    def take_in(self, replies: Sequence[Any], *, is_listener: bool) -> None:
        """Judge the answers, before the connection carries anything else.

        Raises:
            NoLongerPrimary: It is a replica.
            BrokerRefused: It is too old.
        """
        replies = list(replies)
        if self._is_primary_needed:
            match replies.pop(0):
                case [b"slave" | b"sentinel", *_]:
                    raise NoLongerPrimary
        if self._on_server is None or is_listener:
            return
        facts = read_facts(replies)
        if problem := version_problem(facts):
            raise BrokerRefused(shown_url(self._url), problem, OLD_SERVER_ADVICE, needs_person=True)
        is_news = self.facts is None or self.facts.run_id != facts.run_id
        self.facts = facts
        if is_news:
            self._on_server(facts)
