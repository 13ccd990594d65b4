"""The part of redis-py that is used: parsing URLs, and connections that are not yet open."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

from oneshot_queue.errors import InvalidBrokerUrl
from oneshot_queue.store.calls import Call, Word
from oneshot_queue.store.transport.addresses import BrokerAddress, Peer
from oneshot_queue.urls import shown_url

CONNECT_TIMEOUT_S: Final = 4.0
REPLY_TIMEOUT_S: Final = 4.5
"""Leaves us half a second: callers learn within five seconds that the server does not answer."""
SENTINEL_TIMEOUT_S: Final = 1.0
"""A slower sentinel is skipped: others can answer, and calls are waiting."""
CLOSE_TIMEOUT_S: Final = 1.0
MAX_CONNECTIONS: Final = 10
"""Connections to one server, not counting subscribers."""
BLOCK: Final = 100
"""Commands sent at once; the replies of one block are read while the server works on the next."""

_OPTIONS: Final[Mapping[str, Any]] = {
    "protocol": 2,
    "socket_connect_timeout": CONNECT_TIMEOUT_S,
    "decode_responses": False,
}

Maker = Callable[[Peer | None], Any]
"""Creates one of the driver's connections, not yet open; ``None`` is the server that the URL names."""


def maker_for(pool: Any, broker: BrokerAddress, options: Mapping[str, Any]) -> Maker:
    """Return a function that creates connections as the URL specifies.

    Args:
        pool: The driver's pool class, which parses URLs.
        options: Arguments for each connection, which override the URL's.

    Raises:
        InvalidBrokerUrl: The driver cannot parse the URL.
    """

    def parsed(url: str) -> tuple[Any, dict[str, Any]]:
        read = pool.from_url(url)
        # Options in the URL's query must not change the protocol and time limits that this package relies on.
        arguments = {**read.connection_kwargs, **_OPTIONS, **options}
        read.connection_class(**arguments)
        return read.connection_class, arguments

    try:
        node, arguments = parsed(broker.node_url)
        sentinel, for_sentinels = parsed(broker.sentinel_url) if broker.sentinel_url else (node, arguments)
    except (ValueError, TypeError):
        # The driver's message may quote a part of the password.
        raise InvalidBrokerUrl(shown_url(broker.url)) from None

    def make(peer: Peer | None) -> Any:
        if peer is None:
            return node(**arguments)
        if peer.is_sentinel:
            limit_s = {"socket_connect_timeout": SENTINEL_TIMEOUT_S, "socket_timeout": SENTINEL_TIMEOUT_S}
            return sentinel(**{**for_sentinels, **limit_s, "host": peer.host, "port": peer.port})
        return node(**{**arguments, "host": peer.host, "port": peer.port})

    return make


def commands(calls: Iterable[Call[Any]], made: list[Call[Any]], sent_scripts: set[str]) -> Iterator[tuple[Word, ...]]:
    """Yield the words of each call, consuming ``calls`` lazily, and append each call to ``made``.

    Among several calls, the first call of each script that is not in ``sent_scripts`` carries the script's text. If it
    were sent by digest and the server did not know it, the calls after it would be carried out first. A lone call can
    be sent again, so its digest is enough.
    """
    is_lone = isinstance(calls, list | tuple) and len(calls) == 1
    for call in calls:
        made.append(call)
        script = call.script
        if script is None or is_lone or script.sha in sent_scripts:
            yield call.command()
        else:
            sent_scripts.add(script.sha)
            yield call.command(whole_text=True)
