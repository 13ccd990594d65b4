"""The wire injects and counts the faults it was asked for, and changes nothing else."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from functools import partial

import pytest
import redis

from tests.support.limits import limit_s
from tests.support.servers import Server, ServerProcess
from tests.support.waiting import wait_until
from tests.support.wire import Wire
from tests.support.wire_faults import (
    WireFault,
    fragmented,
    half_open,
    latency,
    lost_replies,
    lost_requests,
    low_bandwidth,
    resets,
    stalled,
    subscribers,
)


@pytest.fixture
def wire(server: ServerProcess) -> Iterator[Wire]:
    with Wire(server.socket_path) as running:
        yield running


def connect(wire: Wire, timeout_s: float = 10.0) -> redis.Redis:
    return redis.Redis.from_url(wire.url, socket_timeout=timeout_s, retry=None, protocol=2)


@pytest.mark.parametrize(
    "make",
    [fragmented, partial(low_bandwidth, 1_000_000), partial(latency, 0.001)],
    ids=["fragmented", "bandwidth", "latency"],
)
def test_slow_and_fragmented_data_arrives_unchanged(wire: Wire, namespace: str, make: Callable[[], WireFault]) -> None:
    fault = wire.impair(make())

    with connect(wire) as client:
        client.set(namespace, b"x" * 50_000, ex=60)

        assert client.get(namespace) == b"x" * 50_000
    fault.assert_happened(times=4)


def test_latency_applies_each_way(wire: Wire) -> None:
    with connect(wire) as client:
        client.ping()
        with wire.impaired(latency(0.2)) as fault:
            began = time.monotonic()
            client.ping()
            took_s = time.monotonic() - began

    fault.assert_happened(times=2)
    assert took_s >= 0.4


def test_stalled_wire_delivers_everything_after_its_repair(wire: Wire) -> None:
    with connect(wire, timeout_s=0.3) as hasty, connect(wire) as patient:
        patient.ping()
        fault = wire.impair(stalled())
        with pytest.raises(redis.TimeoutError):
            hasty.ping()
        wire.repair(fault)

        assert patient.ping()
    fault.assert_happened()


@pytest.mark.parametrize(("make", "is_done"), [(lost_replies, True), (lost_requests, False), (half_open, False)])
def test_lost_direction_drops_data_silently(
    wire: Wire, server: Server, namespace: str, make: Callable[[], WireFault], is_done: bool
) -> None:
    with connect(wire, timeout_s=0.3) as client, redis.Redis.from_url(server.url) as direct:
        client.ping()
        with wire.impaired(make()) as fault:
            with pytest.raises(redis.TimeoutError):
                client.set(namespace, "x", ex=60)
            fault.assert_happened()

        assert bool(direct.exists(namespace)) is is_done
        # The client gave that connection up, and a new one works.
        assert client.ping()


def test_direction_that_lost_data_stays_dead_after_the_repair(wire: Wire, server: ServerProcess) -> None:
    host, port = wire._listener.getsockname()
    with socket.create_connection((host, port), timeout=0.3) as raw:
        fault = wire.impair(lost_replies())
        raw.sendall(b"ECHO first\r\n")
        fault.assert_happened()
        wire.repair()

        raw.sendall(b"ECHO second\r\n")

        with pytest.raises(TimeoutError):
            raw.recv(100)


def test_reset_in_the_middle_of_a_reply_is_a_real_one(wire: Wire, namespace: str) -> None:
    host, port = wire._listener.getsockname()
    with socket.create_connection((host, port), timeout=limit_s(10)) as raw:
        fault = wire.impair(resets(after_bytes=3))
        raw.sendall(b"ECHO unmistakable\r\n")

        with pytest.raises(ConnectionResetError):
            b"".join(iter(partial(raw.recv, 100), b""))

    fault.assert_happened()
    assert wire.cut == 1


def test_all_connections_can_be_reset_at_once(wire: Wire) -> None:
    with socket.create_connection(wire._listener.getsockname(), timeout=limit_s(10)) as raw, connect(wire) as client:
        client.ping()
        wait_until(lambda: wire.open_connections, lambda seen: seen == 2, what="both connections")

        assert wire.reset() == 2

        with pytest.raises(ConnectionResetError):
            raw.recv(100)
    with connect(wire) as another:
        assert another.ping()
    wait_until(lambda: wire.open_connections, lambda left: left == 0, what="connections to be gone")


def test_fault_can_affect_subscribers_only(wire: Wire, server: Server, namespace: str) -> None:
    fault = wire.impair(lost_replies(on=subscribers))
    with connect(wire) as client, redis.Redis.from_url(server.url) as direct:
        subscription = client.pubsub()
        subscription.subscribe(namespace)
        wait_until(lambda: direct.publish(namespace, "x"), what="the subscription")

        assert client.ping()
        assert subscription.get_message(timeout=0.3) is None
        subscription.close()
    fault.assert_happened()
