"""Which server is asked, and what is asked again: the part of a connection that does no I/O.

A route carries out calls as a generator: it yields steps (say this there, wait so long), is sent what came of each, and
returns the answers. The asynchronous and the blocking connection take the same steps.

What may be said again: only what a server refused before it did anything. A call whose reply was lost never is.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from redis import exceptions

from oneshot_queue.errors import BrokerError, BrokerUnreachable, MalformedData
from oneshot_queue.store.calls import Call, Word
from oneshot_queue.store.transport.addresses import BrokerAddress, Peer
from oneshot_queue.store.transport.refusals import broker_error


@dataclass(frozen=True, slots=True)
class Exchange:
    """Say this to a server, pipelined; sent back: ``Said`` or ``Failed``.

    Attributes:
        peer: Which; ``None`` is the one the URL names.
    """

    peer: Peer | None
    calls: Iterable[Call[Any]]


@dataclass(frozen=True, slots=True)
class Pause:
    """Wait."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Leave:
    """Use no connection to any other server any more: those that are idle or listen end now, the others when they can.

    Sentinels are spared.
    """

    peers: frozenset[Peer]


@dataclass(frozen=True, slots=True)
class Said:
    """All was said and answered, in order. A refusal is the driver's error in the place of its reply."""

    calls: Sequence[Call[Any]]
    replies: Sequence[Any]


@dataclass(frozen=True, slots=True)
class Failed:
    """The connection failed.

    Attributes:
        was_sent: Something may have been carried out; if not, there was no connection to say anything on.
    """

    error: Exception
    was_sent: bool


Steps = Generator[Exchange | Pause | Leave, Any, Any]


class Route(Protocol):
    """How calls find their server."""

    def carry_out(self, calls: Iterable[Call[Any]]) -> Steps:
        """Carry out calls; returns the answer or the error of each, in their order.

        Raises:
            BrokerUnreachable: Nothing, or not all, is known to have been carried out.
        """

    def find_listening_post(self) -> Steps:
        """Find a server to subscribe at; returns its peer."""

    def doubt(self) -> None:
        """A connection failed: what is known of the servers may be wrong now."""

    def peer_of(self, key: Word) -> Peer | None:
        """The server where a key lives, as far as is known."""


class Direct:
    """To the one server that the URL names."""

    def __init__(self, broker: BrokerAddress) -> None:
        self._url = broker.url

    def carry_out(self, calls: Iterable[Call[Any]]) -> Steps:
        """Say it, once."""
        came = yield Exchange(None, calls)
        if isinstance(came, Failed):
            raise broker_error(self._url, came.error) from came.error
        return settled(self._url, came.calls, came.replies)

    def find_listening_post(self) -> Steps:
        """There is only one."""
        yield from ()

    def doubt(self) -> None:
        """There is no other."""

    def peer_of(self, key: Word) -> Peer | None:  # noqa: ARG002 - all keys live there
        """There is only one."""
        return None


def settled(url: str, calls: Sequence[Call[Any]], replies: Sequence[Any]) -> list[Any]:
    """Make the typed answers; a refusal is the answer of its own call alone.

    Raises:
        BrokerUnreachable: No call was carried out, or is known to have been.
    """
    answers: list[Any] = []
    for call, reply in zip(calls, replies, strict=True):
        if isinstance(reply, BrokerError):
            answers.append(reply)
            continue
        if isinstance(reply, Exception):
            refusal = broker_error(url, reply)
            refusal.__cause__ = reply
            answers.append(refusal)
            continue
        try:
            answers.append(call.read(reply))
        except MalformedData as malformed:
            answers.append(malformed)
        except (ValueError, TypeError, KeyError, IndexError) as surprise:
            # What is stored is hostile until it is read: one damaged value must not take its neighbours with it.
            answers.append(MalformedData("reply", f"{surprise!r}; something else writes to our keys"))
    if answers and all(isinstance(answer, BrokerUnreachable) for answer in answers):
        raise answers[0]
    return answers


def unknown_scripts(replies: Sequence[Any]) -> list[int]:
    """Positions of calls whose script the server did not know. It did nothing for these, so they go once more."""
    return [index for index, reply in enumerate(replies) if isinstance(reply, exceptions.NoScriptError)]
