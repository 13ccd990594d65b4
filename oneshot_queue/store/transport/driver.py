"""What we take from redis-py: a URL's meaning, and connections that are not yet open."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from oneshot_queue.errors import InvalidBrokerUrl
from oneshot_queue.store.calls import Call, Word
from oneshot_queue.store.transport.addresses import BrokerAddress, Peer
from oneshot_queue.urls import shown_url

CONNECT_TIMEOUT_S: Final = 4.0
REPLY_TIMEOUT_S: Final = 4.5
"""With a little for ourselves, whoever calls knows within five seconds that nobody answers."""
SENTINEL_TIMEOUT_S: Final = 1.0
"""A sentinel that is slower is passed over: there are others, and calls wait for the answer."""
CLOSE_TIMEOUT_S: Final = 1.0
MAX_CONNECTIONS: Final = 10
"""To one server."""
BLOCK: Final = 100
"""Commands sent at a time; the replies of one block are read while the server works on the next."""

_OPTIONS: Final[Mapping[str, Any]] = {
    "protocol": 2,
    "socket_connect_timeout": CONNECT_TIMEOUT_S,
    "decode_responses": False,
}

Maker = Callable[[Peer | None], Any]
"""Makes a connection of the driver's to a server, not yet open; ``None`` is the one the URL names."""


def maker_for(pool: Any, broker: BrokerAddress, options: Mapping[str, Any]) -> Maker:
    """Make connections as the URL wants them.

    Args:
        pool: The driver's class of pools, which can read URLs.

    Raises:
        InvalidBrokerUrl: The URL makes no sense.
    """

    def parsed(url: str) -> tuple[Any, dict[str, Any]]:
        read = pool.from_url(url)
        # What a URL may say in its query has no say in how we talk.
        arguments = {**read.connection_kwargs, **_OPTIONS, **options}
        read.connection_class(**arguments)
        return read.connection_class, arguments

    try:
        node, arguments = parsed(broker.node_url)
        sentinel, for_sentinels = parsed(broker.sentinel_url) if broker.sentinel_url else (node, arguments)
    except (ValueError, TypeError):
        # The driver's words may quote a part of the password.
        raise InvalidBrokerUrl(shown_url(broker.url)) from None

    def make(peer: Peer | None) -> Any:
        if peer is None:
            return node(**arguments)
        if peer.is_sentinel:
            limit_s = {"socket_connect_timeout": SENTINEL_TIMEOUT_S, "socket_timeout": SENTINEL_TIMEOUT_S}
            return sentinel(**{**for_sentinels, **limit_s, "host": peer.host, "port": peer.port})
        return node(**{**arguments, "host": peer.host, "port": peer.port})

    return make


def commands(calls: Iterable[Call[Any]], made: list[Call[Any]], told: set[str]) -> Iterator[tuple[Word, ...]]:
    """The words of each call, as they are asked for, and noted in ``made``.

    Where several calls go together, the first of each script that the server was not ``told`` on this connection
    carries its text: were it sent by digest and not known, those behind it would overtake it. A lone call can be
    repeated, so its digest is enough.
    """
    is_lone = isinstance(calls, Sequence) and len(calls) == 1
    for call in calls:
        made.append(call)
        script = call.script
        if script is None or is_lone or script.sha in told:
            yield call.command()
        else:
            told.add(script.sha)
            yield call.command(whole_text=True)
