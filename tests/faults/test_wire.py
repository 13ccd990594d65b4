"""The wire does what it is told to, counts it, and otherwise changes nothing."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from functools import partial

import pytest
import redis

from tests.support.servers import Server, ServerProcess
from tests.support.troubles import (
    Trouble,
    crumbs,
    half_open,
    latency,
    lost_replies,
    lost_requests,
    narrow,
    resets,
    standstill,
    subscribers,
)
from tests.support.waiting import wait_until
from tests.support.wire import Wire


@pytest.fixture
def wire(server: ServerProcess) -> Iterator[Wire]:
    with Wire(server.socket_path) as running:
        yield running


def connect(wire: Wire, timeout_s: float = 10.0) -> redis.Redis:
    return redis.Redis.from_url(wire.url, socket_timeout=timeout_s, retry=None, protocol=2)


@pytest.mark.parametrize(
    "make", [crumbs, partial(narrow, 1_000_000), partial(latency, 0.001)], ids=["crumbs", "narrow", "late"]
)
def test_what_passes_slowly_or_in_pieces_is_what_was_sent(
    wire: Wire, namespace: str, make: Callable[[], Trouble]
) -> None:
    trouble = wire.inflict(make())

    with connect(wire) as client:
        client.set(namespace, b"x" * 50_000, ex=60)

        assert client.get(namespace) == b"x" * 50_000
    trouble.assert_struck(times=4)


def test_latency_is_felt_each_way(wire: Wire) -> None:
    with connect(wire) as client:
        client.ping()
        with wire.suffering(latency(0.2)) as trouble:
            began = time.monotonic()
            client.ping()
            took_s = time.monotonic() - began

    trouble.assert_struck(times=2)
    assert took_s >= 0.4


def test_a_standstill_holds_everything_and_lets_it_go(wire: Wire) -> None:
    with connect(wire, timeout_s=0.3) as hasty, connect(wire) as patient:
        patient.ping()
        trouble = wire.inflict(standstill())
        with pytest.raises(redis.TimeoutError):
            hasty.ping()
        wire.repair(trouble)

        assert patient.ping()
    trouble.assert_struck()


@pytest.mark.parametrize(("make", "is_done"), [(lost_replies, True), (lost_requests, False), (half_open, False)])
def test_a_lost_way_loses_what_goes_there_and_nobody_is_told(
    wire: Wire, server: Server, namespace: str, make: Callable[[], Trouble], is_done: bool
) -> None:
    with connect(wire, timeout_s=0.3) as client, redis.Redis.from_url(server.url) as direct:
        client.ping()
        with wire.suffering(make()) as trouble:
            with pytest.raises(redis.TimeoutError):
                client.set(namespace, "x", ex=60)
            trouble.assert_struck()

        assert bool(direct.exists(namespace)) is is_done
        # Once it has given that connection up, all is well again.
        assert client.ping()


def test_a_way_that_lost_something_stays_lost_although_the_trouble_is_over(wire: Wire, server: ServerProcess) -> None:
    host, port = wire._listener.getsockname()
    with socket.create_connection((host, port), timeout=0.3) as raw:
        trouble = wire.inflict(lost_replies())
        raw.sendall(b"ECHO first\r\n")
        trouble.assert_struck()
        wire.repair()

        raw.sendall(b"ECHO second\r\n")

        with pytest.raises(TimeoutError):
            raw.recv(100)


def test_a_reset_in_the_middle_of_a_reply_is_a_real_one(wire: Wire, namespace: str) -> None:
    host, port = wire._listener.getsockname()
    with socket.create_connection((host, port), timeout=10) as raw:
        trouble = wire.inflict(resets(after_bytes=3))
        raw.sendall(b"ECHO unmistakable\r\n")

        with pytest.raises(ConnectionResetError):
            b"".join(iter(partial(raw.recv, 100), b""))

    trouble.assert_struck()
    assert wire.cut == 1


def test_all_connections_can_be_reset_at_once(wire: Wire) -> None:
    with socket.create_connection(wire._listener.getsockname(), timeout=10) as raw, connect(wire) as client:
        client.ping()
        wait_until(lambda: wire.open_connections, lambda seen: seen == 2, what="both connections")

        assert wire.reset() == 2

        with pytest.raises(ConnectionResetError):
            raw.recv(100)
    with connect(wire) as another:
        assert another.ping()
    wait_until(lambda: wire.open_connections, lambda left: left == 0, what="connections to be gone")


def test_a_trouble_can_be_about_subscribers_alone(wire: Wire, server: Server, namespace: str) -> None:
    trouble = wire.inflict(lost_replies(on=subscribers))
    with connect(wire) as client, redis.Redis.from_url(server.url) as direct:
        subscription = client.pubsub()
        subscription.subscribe(namespace)
        wait_until(lambda: direct.publish(namespace, "x"), what="the subscription")

        assert client.ping()
        assert subscription.get_message(timeout=0.3) is None
        subscription.close()
    trouble.assert_struck()
