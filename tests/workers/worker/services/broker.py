"""A fake broker that gives scripted answers and records the calls."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from redis.exceptions import ResponseError

from oneshot_queue.errors import BrokerUnreachable
from oneshot_queue.store.calls import Call
from oneshot_queue.store.transport.refusals import broker_error


class ScriptedBroker:
    """Replaces the connection of a service.

    Attributes:
        answers: The answer of each script or command, by its name: a value, an exception, or a function of the call.
        asked: The scripts and commands that were called, in order, each with its words.
        is_away: Whether it cannot be reached.
        before_reply: Called while a reply is on its way.
    """

    def __init__(self, **answers: Any) -> None:
        self.answers = answers
        self.asked: list[tuple[str, tuple[Any, ...]]] = []
        self.is_away = False
        self.before_reply: Callable[[], None] = lambda: None

    async def run(self, call: Call[Any]) -> Any:
        answer = self._answer(call)
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def run_many(self, calls: Sequence[Call[Any]]) -> list[Any]:
        return [self._answer(call) for call in calls]

    def words(self, name: str) -> list[tuple[Any, ...]]:
        """The arguments of each call of one script, after its keys."""
        return [words[1 + words[0] :] for asked, words in self.asked if asked == name]

    def _answer(self, call: Call[Any]) -> Any:
        name = str(call.words[0]) if call.script is None else call.script.name
        if self.is_away:
            raise BrokerUnreachable("redis://", "it is away")
        self.asked.append((name, call.words))
        self.before_reply()
        answer = self.answers[name]
        return answer(call) if callable(answer) else answer


def damage() -> Exception:
    """Return the error for a key that holds a value of another type."""
    cause = ResponseError("WRONGTYPE Operation against a key holding the wrong kind of value")
    error = broker_error("redis://", cause)
    error.__cause__ = cause
    return error
