"""A proxy that adds latency, as if the broker were far away."""

from __future__ import annotations

import asyncio
import contextlib
import selectors
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit, urlunsplit

import anyio

_CHUNK: Final = 65_536
_InFlight = asyncio.Queue[tuple[float, bytes]]
"""Bytes and when they are due; empty bytes mark the end."""

_MAX_CHUNKS: Final = 256
"""Chunks in flight: far more than arrive within a few milliseconds."""
_REDIS_PORT: Final = 6379
_LOOPBACK: Final = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Address:
    """The address of a broker.

    Attributes:
        path: The path of its unix socket; ``None`` for TCP.
        host: Its host, for TCP.
        port: Its port, for TCP.
    """

    path: str | None
    host: str
    port: int


@contextlib.contextmanager
def delayed(url: str, rtt_s: float) -> Iterator[str]:
    """Run a proxy, and yield the URL that leads through it. Each direction delays every byte by half of ``rtt_s``.

    Args:
        url: ``redis://`` or ``unix://``.
        rtt_s: Latency to add to each round trip, in seconds.

    Raises:
        ValueError: The URL is of another kind: a cluster or sentinels, which announce addresses, or TLS.
    """
    proxy = _Proxy(_address_of(url), rtt_s / 2)
    thread = threading.Thread(target=proxy.run, daemon=True)
    thread.start()
    try:
        yield _through(url, proxy.port)
    finally:
        proxy.stop()
        thread.join()


class _Proxy:
    """Forwards bytes with a delay, in a thread of its own.

    It uses ``select``, which has microsecond resolution; that of ``epoll`` is a millisecond, as long as the delay. The
    CPU time of the proxy is taken from the benchmark and, on few cores, from the workers, so the broker appears
    somewhat farther away than requested.
    """

    def __init__(self, address: Address, delay_s: float) -> None:
        self._address = address
        self._delay_s = delay_s
        self._loop = asyncio.SelectorEventLoop(selectors.SelectSelector())
        self._stopped = asyncio.Event()
        self._listener = socket.create_server((_LOOPBACK, 0))
        self.port: int = self._listener.getsockname()[1]

    def run(self) -> None:
        """Serve until ``stop`` is called."""
        with contextlib.closing(self._loop):
            self._loop.run_until_complete(self._serve())

    def stop(self) -> None:
        """Make ``run`` return. Call it from another thread."""
        self._loop.call_soon_threadsafe(self._stopped.set)

    async def _serve(self) -> None:
        async with anyio.create_task_group() as connections:

            def connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                # Not a coroutine: Python 3.11 prints a traceback when such a coroutine is cancelled.
                connections.start_soon(self._connect, reader, writer)

            server = await asyncio.start_server(connect, sock=self._listener)
            await self._stopped.wait()
            server.close()
            connections.cancel_scope.cancel()

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.closing(writer):
            try:
                reader_of_broker, writer_to_broker = await self._connect_to_broker()
            except OSError:
                return  # To the client, this looks as if nothing listened.
            with contextlib.closing(writer_to_broker):
                await self._forward((reader, writer_to_broker), (reader_of_broker, writer))

    async def _forward(self, *directions: tuple[asyncio.StreamReader, asyncio.StreamWriter]) -> None:
        try:
            async with anyio.create_task_group() as pumps:
                for source, target in directions:
                    in_flight: _InFlight = asyncio.Queue(_MAX_CHUNKS)
                    pumps.start_soon(self._receive, source, in_flight)
                    pumps.start_soon(self._deliver, in_flight, target)
        except* OSError:
            pass  # One side has closed its connection; the other one is closed too.

    async def _connect_to_broker(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._address.path is not None:
            return await asyncio.open_unix_connection(self._address.path)
        return await asyncio.open_connection(self._address.host, self._address.port)

    async def _receive(self, source: asyncio.StreamReader, in_flight: _InFlight) -> None:
        data = b"-"
        while data:
            data = await source.read(_CHUNK)
            await in_flight.put((self._loop.time() + self._delay_s, data))

    async def _deliver(self, in_flight: _InFlight, target: asyncio.StreamWriter) -> None:
        while True:
            due, data = await in_flight.get()
            await asyncio.sleep(due - self._loop.time())
            if not data:
                target.write_eof()
                return
            target.write(data)
            await target.drain()


def _address_of(url: str) -> Address:
    parts = urlsplit(url)
    if parts.scheme == "unix":
        return Address(parts.path, "", 0)
    if parts.scheme == "redis":
        return Address(None, parts.hostname or _LOOPBACK, parts.port or _REDIS_PORT)
    raise ValueError(f"latency cannot be added to a {parts.scheme}:// broker, only to redis:// and unix://")


def _through(url: str, port: int) -> str:
    # Only the address changes: user, password, database and options stay.
    parts = urlsplit(url)
    login, at, _ = parts.netloc.rpartition("@")
    path = "" if parts.scheme == "unix" else parts.path
    return urlunsplit(("redis", f"{login}{at}{_LOOPBACK}:{port}", path, parts.query, ""))
