"""The route to several servers: find out whom to ask, and ask anew what was refused before anything was done."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from itertools import count, islice
from typing import Any, Final, Protocol

from redis import exceptions

from oneshot_queue.backoff import retry_delay
from oneshot_queue.errors import BrokerError
from oneshot_queue.store.calls import Call, Word, plain
from oneshot_queue.store.transport.addresses import Peer
from oneshot_queue.store.transport.refusals import REFUSALS, code_of
from oneshot_queue.store.transport.routes import Exchange, Failed, Pause, Said, Steps, settled

BATCH: Final = 1_000
"""Calls that are sorted by their servers at a time; however many are made, so many are held."""
PAUSE_S: Final = 0.02
MAX_PAUSE_S: Final = 0.5
_ASKING: Final = plain("ASKING", read=lambda _: None)


class Directory(Protocol):
    """Knows which server serves what, as of late."""

    repeatable: frozenset[str]
    """Refusals that another server would not give, or this one not for long."""

    @property
    def is_current(self) -> bool:
        """Whether it may be relied upon."""

    def look_up(self) -> Steps:
        """Ask those who know.

        Raises:
            BrokerError: Nobody knows.
        """

    def home(self, key: Word | None) -> Peer | None:
        """Who serves a key; ``None``: nobody, as far as is known."""

    def doubt(self) -> None:
        """It may be wrong: look it up before it is used again."""

    def redirect(self, refusal: Exception, asked: Peer) -> Peer | None:
        """Learn from a refusal; returns who is to be asked for this one call, if it said so."""


class Rerouting:
    """To whom a directory names.

    Args:
        now: A monotonic clock, in seconds.
        patience_s: How long what is refused is asked again.
    """

    def __init__(self, url: str, directory: Directory, now: Callable[[], float], *, patience_s: float) -> None:
        self._url = url
        self._directory = directory
        self._now = now
        self._patience_s = patience_s

    def carry_out(self, calls: Iterable[Call[Any]]) -> Steps:
        """Carry out calls, each where it belongs, in the order in which they belong there."""
        answers: list[Any] = []
        remaining = iter(calls)
        while batch := list(islice(remaining, BATCH)):
            replies: list[Any] = [None] * len(batch)
            yield from self._carry_out(batch, replies)
            answers += settled(self._url, batch, replies)
        return answers

    def find_listening_post(self) -> Steps:
        """Where announcements are heard: the primary, or any node of a cluster, whose nodes pass them on."""
        if not self._directory.is_current:
            yield from self._directory.look_up()
        peer = self._directory.home(None)
        if peer is None:
            raise exceptions.ClusterDownError("no node serves anything")
        return peer

    def doubt(self) -> None:
        """A connection failed."""
        self._directory.doubt()

    def peer_of(self, key: Word) -> Peer | None:
        """Who serves a key, as far as is known."""
        return self._directory.home(key)

    def _carry_out(self, calls: Sequence[Call[Any]], replies: list[Any]) -> Steps:
        give_up_s = self._now() + self._patience_s
        waiting, elsewhere = list(range(len(calls))), dict[int, Peer]()
        for attempt in count(1):
            if not self._directory.is_current:
                try:
                    yield from self._directory.look_up()
                except BrokerError as problem:
                    for index in waiting:
                        replies[index] = problem
                    return
            waiting, elsewhere = yield from self._ask(calls, waiting, elsewhere, replies)
            pause_s = retry_delay(attempt, base_s=PAUSE_S, cap_s=MAX_PAUSE_S, spread=random.uniform(0.5, 1.0))
            if not waiting:
                return
            if self._now() + pause_s > give_up_s:
                for index in waiting:
                    replies[index] = _last_word(replies[index])
                return
            # Whoever was sent elsewhere goes there at once, but does not run in circles.
            if attempt > 1 or not all(isinstance(replies[index], exceptions.AskError) for index in waiting):
                yield Pause(pause_s)

    def _ask(
        self, calls: Sequence[Call[Any]], waiting: Sequence[int], elsewhere: dict[int, Peer], replies: list[Any]
    ) -> Steps:
        """Ask everybody once; returns which calls may be said again, and those of them that have an address given."""
        groups: dict[tuple[Peer | None, bool], list[int]] = {}
        for index in waiting:
            peer = elsewhere.get(index) or self._directory.home(calls[index].key)
            groups.setdefault((peer, index in elsewhere), []).append(index)
        again: list[int] = []
        sent_on: dict[int, Peer] = {}
        for (peer, is_sent_on), indexes in groups.items():
            came = yield from self._exchange(peer, [calls[index] for index in indexes], is_sent_on=is_sent_on)
            if isinstance(came, Failed):
                self._directory.doubt()
                for index in indexes:
                    replies[index] = came.error
                again += indexes if not came.was_sent and _may_pass(came.error) else []
                continue
            for index, reply in zip(indexes, came.replies, strict=True):
                replies[index] = reply
                if isinstance(reply, Exception) and code_of(reply) in self._directory.repeatable:
                    again.append(index)
                    if peer is not None and (target := self._directory.redirect(reply, peer)):
                        sent_on[index] = target
        return sorted(again), sent_on

    def _exchange(self, peer: Peer | None, calls: list[Call[Any]], *, is_sent_on: bool) -> Steps:
        if peer is None:
            return Failed(exceptions.ClusterDownError("nobody serves this part", status_code="CLUSTERDOWN"), False)
        if not is_sent_on:
            return (yield Exchange(peer, calls))
        # A node that only begins to take a part over serves it to who says that he was sent.
        came = yield Exchange(peer, [each for call in calls for each in (_ASKING, call)])
        return Said(calls, came.replies[1::2]) if isinstance(came, Said) else came


def _last_word(refusal: Exception) -> Exception:
    """What to tell a caller who was asked to wait for too long; that he was sent elsewhere helps him no more."""
    if isinstance(refusal, exceptions.AskError):
        return exceptions.TryAgainError("nobody has served this part in time", status_code="TRYAGAIN")
    return refusal


def _may_pass(error: Exception) -> bool:
    """Whether a connection that could not be made may be made later; one with a wrong password may not."""
    code = code_of(error)
    return code is None or (code in REFUSALS and REFUSALS[code].is_passing)
