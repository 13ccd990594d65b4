"""The proxy adds latency, keeps the order of bytes, and closes connections as a direct connection would."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from oneshot_queue.bench.proxy import delayed
from tests.support.limits import limit_s

RTT_S = 0.1


@pytest.fixture
def listener(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "s"))
        listening.listen()
        listening.settimeout(limit_s(20))
        yield listening


@contextmanager
def connected(listener: socket.socket) -> Iterator[tuple[socket.socket, socket.socket]]:
    """Both ends of a connection through the proxy: the client's and the server's."""
    with delayed(f"unix://{listener.getsockname()}", RTT_S) as url:
        address = urlsplit(url)
        with socket.create_connection((address.hostname, address.port or 0), timeout=limit_s(20)) as client:
            server, _ = listener.accept()
            server.settimeout(limit_s(20))
            with server:
                yield client, server


def test_each_direction_takes_half_of_the_latency(listener: socket.socket) -> None:
    with connected(listener) as (client, server):
        for source, target in ((client, server), (server, client)):
            began = time.monotonic()
            source.sendall(b"x")
            assert target.recv(1) == b"x"
            assert time.monotonic() - began >= RTT_S / 2


def test_bytes_keep_their_order_and_many_are_in_flight_at_once(listener: socket.socket) -> None:
    with connected(listener) as (client, server):
        began = time.monotonic()
        for number in range(100):
            client.sendall(bytes([number]))
        got = b""
        while len(got) < 100:
            got += server.recv(100)

        assert got == bytes(range(100))
        assert time.monotonic() - began < 100 * RTT_S / 2


def test_half_closed_connection_still_receives_the_answer(listener: socket.socket) -> None:
    with connected(listener) as (client, server):
        client.sendall(b"question")
        client.shutdown(socket.SHUT_WR)
        question = b""
        while piece := server.recv(100):
            question += piece
        server.sendall(b"answer")

        assert question == b"question"
        assert client.recv(100) == b"answer"


def test_a_missing_server_closes_the_connection(tmp_path: Path) -> None:
    with delayed(f"unix://{tmp_path / 'nothing'}", RTT_S) as url:
        address = urlsplit(url)
        with socket.create_connection((address.hostname, address.port or 0), timeout=limit_s(20)) as client:
            assert client.recv(1) == b""


def test_it_can_stop_before_its_clients_without_a_log_message(
    listener: socket.socket, caplog: pytest.LogCaptureFixture
) -> None:
    with delayed(f"unix://{listener.getsockname()}", RTT_S) as url:
        address = urlsplit(url)
        client = socket.create_connection((address.hostname, address.port or 0), timeout=limit_s(20))
        server, _ = listener.accept()

    with client, server:
        server.settimeout(limit_s(20))
        assert (client.recv(1), server.recv(1)) == (b"", b"")
    assert caplog.messages == []


@pytest.mark.parametrize(
    ("url", "through"),
    [
        ("redis://user:p%40ss@broker:6380/3?protocol=2", "redis://user:p%40ss@127.0.0.1:PORT/3?protocol=2"),
        ("unix:///run/s.sock?db=3", "redis://127.0.0.1:PORT?db=3"),
        ("unix://user:pw@/run/s.sock", "redis://user:pw@127.0.0.1:PORT"),
    ],
)
def test_only_the_address_of_the_url_changes(url: str, through: str) -> None:
    with delayed(url, RTT_S) as found:
        assert found == through.replace("PORT", str(urlsplit(found).port))


@pytest.mark.parametrize("url", ["rediss://broker", "redis+cluster://broker", "redis+sentinel://broker/main"])
def test_other_kinds_of_brokers_are_refused(url: str) -> None:
    with pytest.raises(ValueError, match="latency cannot be added to a"), delayed(url, RTT_S):
        pass
