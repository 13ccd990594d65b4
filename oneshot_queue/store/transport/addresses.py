"""Parses a broker's URL: one server, the sentinels of a service, or some nodes of a cluster. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final
from urllib.parse import parse_qsl, quote, unquote, urlencode

from oneshot_queue.errors import InvalidBrokerUrl
from oneshot_queue.urls import shown_url

SENTINEL_PORT: Final = 26379
NODE_PORT: Final = 6379
_PLAIN: Final = re.compile(r"(rediss?|unix)://")
_MANY: Final = re.compile(
    r"(?P<scheme>rediss?)\+(?P<kind>sentinel|cluster)://((?P<login>[^/?#]*)@)?(?P<hosts>[^/?#@]*)"
    r"(/(?P<path>[^?#]*))?(\?(?P<query>[^#]*))?"
)
_HOST: Final = re.compile(r"(?P<host>[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(:(?P<port>[0-9]{1,5}))?")
_SERVICE_PATH: Final = re.compile(r"(?P<service>[A-Za-z0-9._%-]+)(/(?P<db>[0-9]{1,4})?)?")
_SENTINEL_OPTIONS: Final = {"sentinel_username": "username", "sentinel_password": "password"}


class BrokerKind(StrEnum):
    """What kind of broker a URL names."""

    SINGLE = "single"
    SENTINEL = "sentinel"
    CLUSTER = "cluster"


@dataclass(frozen=True, slots=True)
class Peer:
    """The address of one server among several."""

    host: str
    port: int
    is_sentinel: bool = False


@dataclass(frozen=True, slots=True)
class BrokerAddress:
    """The parts of a broker's URL.

    Attributes:
        url: The URL as given, including its password.
        node_url: URL for the driver: the first host, with the login and options for every server that holds data.
        sentinel_url: The same for sentinels, which have their own login; empty without sentinels.
        peers: The hosts of the URL: sentinels, or nodes of a cluster.
        service: The name under which sentinels know the primary.
    """

    url: str
    kind: BrokerKind
    node_url: str
    sentinel_url: str = ""
    peers: tuple[Peer, ...] = ()
    service: str = ""


def parse_broker_url(url: str) -> BrokerAddress:
    """Parse a broker's URL.

    Raises:
        InvalidBrokerUrl: It is not a valid broker URL; the message hides its password.
    """
    if _PLAIN.match(url):
        return BrokerAddress(url, BrokerKind.SINGLE, node_url=url)
    match = _MANY.fullmatch(url)
    if match is None:
        raise InvalidBrokerUrl(shown_url(url))
    parts = match.groupdict("")
    kind = BrokerKind(parts["kind"])
    is_sentinel = kind is BrokerKind.SENTINEL
    peers = tuple(_peer(url, host, is_sentinel=is_sentinel) for host in parts["hosts"].split(","))
    options = dict(parse_qsl(parts["query"], keep_blank_values=True))
    login = f"{parts['login']}@" if parts["login"] else ""
    if not is_sentinel:
        if parts["path"] not in {"", "0"}:
            raise InvalidBrokerUrl(shown_url(url))
        return BrokerAddress(url, kind, _url(parts["scheme"], login, peers[0], "0", options), peers=peers)
    path = _SERVICE_PATH.fullmatch(parts["path"])
    if path is None:
        raise InvalidBrokerUrl(shown_url(url))
    secrets = {ours: options.pop(theirs) for theirs, ours in _SENTINEL_OPTIONS.items() if theirs in options}
    sentinel_login = (
        f"{quote(secrets.get('username', ''))}:{quote(secrets.get('password', ''), safe='')}@" if secrets else ""
    )
    own = {name: value for name, value in options.items() if name not in {"username", "password"}}
    return BrokerAddress(
        url,
        kind,
        node_url=_url(parts["scheme"], login, peers[0], path["db"] or "0", options),
        sentinel_url=_url(parts["scheme"], sentinel_login, peers[0], "0", own),
        peers=peers,
        service=unquote(path["service"]),
    )


def _peer(url: str, written: str, *, is_sentinel: bool) -> Peer:
    match = _HOST.fullmatch(written)
    port = int(match["port"] or (SENTINEL_PORT if is_sentinel else NODE_PORT)) if match else 0
    if match is None or not 0 < port < 65_536:
        raise InvalidBrokerUrl(shown_url(url))
    return Peer(match["host"].strip("[]"), port, is_sentinel)


def _url(scheme: str, login: str, peer: Peer, database: str, options: Mapping[str, str]) -> str:
    host = f"[{peer.host}]" if ":" in peer.host else peer.host
    query = f"?{urlencode(options)}" if options else ""
    return f"{scheme}://{login}{host}:{peer.port}/{database}{query}"
