"""The route to several servers: looks up the right one, and sends refused calls again if they did nothing."""

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
from oneshot_queue.store.transport.routes import Backoff, ConnectionFailed, Exchange, Replied, Steps, typed_answers

BATCH: Final = 1_000
"""Calls that are held and grouped by server at once."""
PAUSE_S: Final = 0.02
MAX_PAUSE_S: Final = 0.5
_ASKING: Final = plain("ASKING", read=lambda _: None)


class Directory(Protocol):
    """Knows which server holds which keys, from its last lookup."""

    repeatable: frozenset[str]
    """Codes of refusals after which a call is sent again: another server, or the same one later, may accept it."""

    @property
    def is_current(self) -> bool:
        """Whether it can be used without a lookup."""

    def look_up(self) -> Steps:
        """Look up the servers.

        Raises:
            BrokerError: No server answered the lookup.
        """

    def peer_of(self, key: Word | None) -> Peer | None:
        """Return the server that holds a key, or ``None`` if unknown; for the key ``None``, any server."""

    def invalidate(self) -> None:
        """Require a lookup before the next use."""

    def redirect(self, refusal: Exception, asked: Peer) -> Peer | None:
        """Learn from a refusal; returns the server to send this one call to, if the refusal names it."""


class Rerouting:
    """The route to the servers that a directory names.

    Args:
        now: A monotonic clock, in seconds.
        patience_s: Seconds for which a refused call is sent again.
    """

    def __init__(self, url: str, directory: Directory, now: Callable[[], float], *, patience_s: float) -> None:
        self._url = url
        self._directory = directory
        self._now = now
        self._patience_s = patience_s

    def carry_out(self, calls: Iterable[Call[Any]]) -> Steps:
        """Carry out calls, each on the server of its key, in order on each server."""
        answers: list[Any] = []
        remaining = iter(calls)
        while batch := list(islice(remaining, BATCH)):
            replies: list[Any] = [None] * len(batch)
            yield from self._carry_out(batch, replies)
            answers += typed_answers(self._url, batch, replies)
        return answers

    def find_pubsub_peer(self) -> Steps:
        """Return the primary, or any node of a cluster: cluster nodes forward messages to each other."""
        if not self._directory.is_current:
            yield from self._directory.look_up()
        peer = self._directory.peer_of(None)
        if peer is None:
            raise exceptions.ClusterDownError("no node serves any keys")
        return peer

    def invalidate(self) -> None:
        """Look up the servers again before the next call."""
        self._directory.invalidate()

    def peer_of(self, key: Word) -> Peer | None:
        """Return the server that holds a key, or ``None`` if unknown."""
        return self._directory.peer_of(key)

    def _carry_out(self, calls: Sequence[Call[Any]], replies: list[Any]) -> Steps:
        give_up_s = self._now() + self._patience_s
        waiting, redirected = list(range(len(calls))), dict[int, Peer]()
        for attempt in count(1):
            if not self._directory.is_current:
                try:
                    yield from self._directory.look_up()
                except BrokerError as problem:
                    for index in waiting:
                        replies[index] = problem
                    return
            waiting, redirected = yield from self._send(calls, waiting, redirected, replies)
            pause_s = retry_delay(attempt, base_s=PAUSE_S, cap_s=MAX_PAUSE_S, spread=random.uniform(0.5, 1.0))
            if not waiting:
                return
            if self._now() + pause_s > give_up_s:
                for index in waiting:
                    replies[index] = _final_error(replies[index])
                return
            # A redirected call goes out without a pause, but only once, in case servers redirect in circles.
            if attempt > 1 or not all(isinstance(replies[index], exceptions.AskError) for index in waiting):
                yield Backoff(pause_s)

    def _send(
        self, calls: Sequence[Call[Any]], waiting: Sequence[int], redirected: dict[int, Peer], replies: list[Any]
    ) -> Steps:
        """Send the waiting calls once; returns those to send again, and the servers that some were redirected to."""
        groups: dict[tuple[Peer | None, bool], list[int]] = {}
        for index in waiting:
            peer = redirected.get(index) or self._directory.peer_of(calls[index].key)
            groups.setdefault((peer, index in redirected), []).append(index)
        again: list[int] = []
        redirected_now: dict[int, Peer] = {}
        for (peer, is_redirected), indexes in groups.items():
            result = yield from self._exchange(peer, [calls[index] for index in indexes], is_redirected=is_redirected)
            if isinstance(result, ConnectionFailed):
                self._directory.invalidate()
                for index in indexes:
                    replies[index] = result.error
                again += indexes if not result.was_sent and _may_recover(result.error) else []
                continue
            for index, reply in zip(indexes, result.replies, strict=True):
                replies[index] = reply
                if isinstance(reply, Exception) and code_of(reply) in self._directory.repeatable:
                    again.append(index)
                    if peer is not None and (target := self._directory.redirect(reply, peer)):
                        redirected_now[index] = target
        return sorted(again), redirected_now

    def _exchange(self, peer: Peer | None, calls: list[Call[Any]], *, is_redirected: bool) -> Steps:
        if peer is None:
            return ConnectionFailed(
                exceptions.ClusterDownError("no node serves this queue", status_code="CLUSTERDOWN"), False
            )
        if not is_redirected:
            return (yield Exchange(peer, calls))
        # A node that is still importing a slot serves it only to clients that send ASKING first.
        result = yield Exchange(peer, [each for call in calls for each in (_ASKING, call)])
        return Replied(calls, result.replies[1::2]) if isinstance(result, Replied) else result


def _final_error(refusal: Exception) -> Exception:
    """Return the error for a caller whose time is up; a redirection would not help it."""
    if isinstance(refusal, exceptions.AskError):
        return exceptions.TryAgainError("no node served this queue in time", status_code="TRYAGAIN")
    return refusal


def _may_recover(error: Exception) -> bool:
    """Whether a connection that failed to open may open later; not with a wrong password, for example."""
    code = code_of(error)
    return code is None or (code in REFUSALS and REFUSALS[code].is_passing)
