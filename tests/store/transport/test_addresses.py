"""A broker's URL is parsed, or refused with a message that shows no password."""

from __future__ import annotations

import pytest
import redis
import redis.asyncio
from hypothesis import given
from hypothesis import strategies as st

from oneshot_queue import InvalidBrokerUrl
from oneshot_queue.store.transport.addresses import BrokerAddress, BrokerKind, Peer, parse_broker_url
from oneshot_queue.store.transport.connection import AsyncConnection, SyncConnection
from oneshot_queue.store.transport.driver import maker_for
from oneshot_queue.urls import shown_url

SECRET = "g3h3im"


def test_sentinel_url_is_parsed_with_its_service_and_the_sentinels_login() -> None:
    url = "rediss+sentinel://bert:p%2Fw@a:1,[::1],c.example/main/3?sentinel_password=s%2Fp&ssl_cert_reqs=none"

    broker = parse_broker_url(url)

    assert broker == BrokerAddress(
        url,
        BrokerKind.SENTINEL,
        node_url="rediss://bert:p%2Fw@a:1/3?ssl_cert_reqs=none",
        sentinel_url="rediss://:s%2Fp@a:1/0?ssl_cert_reqs=none",
        peers=(Peer("a", 1, True), Peer("::1", 26379, True), Peer("c.example", 26379, True)),
        service="main",
    )


def test_cluster_url_is_parsed_with_its_nodes() -> None:
    broker = parse_broker_url("redis+cluster://:x@a:7000,b/")

    assert broker.kind is BrokerKind.CLUSTER
    assert broker.peers == (Peer("a", 7000), Peer("b", 6379))
    assert broker.node_url == "redis://:x@a:7000/0"


@pytest.mark.parametrize("pool", [redis.ConnectionPool, redis.asyncio.ConnectionPool])
def test_each_server_is_connected_to_with_its_own_login_and_address(pool: object) -> None:
    url = "redis+sentinel://bert:pw@a:1,b:2/main/3?sentinel_username=eve&sentinel_password=guard"
    make = maker_for(pool, parse_broker_url(url), {})

    sentinel, node = make(Peer("b", 2, True)), make(Peer("10.0.0.1", 6379))

    assert (sentinel.host, sentinel.port, sentinel.username, sentinel.password) == ("b", 2, "eve", "guard")
    assert (node.host, node.port, node.username, node.password, node.db) == ("10.0.0.1", 6379, "bert", "pw", 3)


@pytest.mark.parametrize(
    "url",
    [
        f"redis+sentinel://:{SECRET}@host:26379",
        f"redis+sentinel://:{SECRET}@host:26379/",
        f"redis+sentinel://:{SECRET}@host:26379/main/x",
        f"redis+sentinel://:{SECRET}@host:26379/main/0/1",
        f"redis+sentinel://:{SECRET}@,/main",
        f"redis+sentinel://:{SECRET}@host:99999/main",
        f"redis+sentinel://:{SECRET}@ho st/main",
        f"redis+sentinel://host/?sentinel_password={SECRET}",
        f"redis+cluster://:{SECRET}@host/1",
        f"redis+cluster://:{SECRET}@",
        f"redis+cluster://u:{SECRET}/{SECRET}@host",
        f"unix+cluster://:{SECRET}@host",
        f"REDIS+CLUSTER://:{SECRET}@host",
    ],
)
@pytest.mark.parametrize("kind", [AsyncConnection, SyncConnection])
def test_invalid_url_is_refused_with_the_valid_forms(kind: type, url: str) -> None:
    with pytest.raises(InvalidBrokerUrl, match=r"redis\+sentinel://HOST.*redis\+cluster://HOST") as refusal:
        kind(url)

    assert SECRET not in str(refusal.value)


@given(
    st.one_of(
        st.text(),
        st.builds(
            "{}://{}@{}/{}?{}".format,
            st.sampled_from(["redis", "rediss", "unix", "redis+sentinel", "redis+cluster", "rediss+sentinel"]),
            st.text(),
            st.text(),
            st.text(),
            st.text(),
        ),
        st.text("redis+clutn:/@,.?#[]%0129&=", max_size=60).map("redis+sentinel://".__add__),
        st.text("redis+clutn:/@,.?#[]%0129&=", max_size=60).map("redis+cluster://".__add__),
    )
)
def test_no_url_causes_another_error_than_a_refusal(url: str) -> None:
    for kind in (AsyncConnection, SyncConnection):
        try:
            kind(url)
        except InvalidBrokerUrl:
            continue


@given(st.text(min_size=4).filter(lambda password: password not in "redis+sentinel://user:***@host:1,other/main?"))
def test_password_of_sentinels_or_a_cluster_is_never_shown(password: str) -> None:
    marked = f"{SECRET}{password}{SECRET}"
    for url in (f"redis+sentinel://u:{marked}@h:1,i/main", f"rediss+cluster://:{marked}@h,i:2"):
        assert SECRET not in shown_url(url)
