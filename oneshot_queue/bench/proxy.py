"""A way to the broker that takes its time, as if the broker were far away: what is measured through it waits."""

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
_OnItsWay = asyncio.Queue[tuple[float, bytes]]
"""Bytes, and when they are due; empty at the end."""

_MOST_CHUNKS: Final = 256
"""On their way at once: far more than there are in a few milliseconds."""
_REDIS_PORT: Final = 6379
_HERE: Final = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Address:
    """Where a broker listens: a socket's path, or a host and a port."""

    path: str | None
    host: str
    port: int


@contextlib.contextmanager
def delayed(url: str, rtt_s: float) -> Iterator[str]:
    """Open such a way; the URL of it. Each direction holds every byte back for half the round-trip time.

    Args:
        url: ``redis://`` or ``unix://``.
        rtt_s: What a round trip takes longer, in seconds.

    Raises:
        ValueError: It is another kind of broker, one that answers with addresses, or over TLS.
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
    """Passes on what comes, later; in a thread of its own.

    It waits by ``select``, which counts microseconds: ``epoll`` counts milliseconds, which is as long as the delay.
    What it costs is taken from whoever measures and, where there are few processors, from the workers: the broker looks
    rather farther away than it is said to be.
    """

    def __init__(self, address: Address, delay_s: float) -> None:
        self._address = address
        self._delay_s = delay_s
        self._loop = asyncio.SelectorEventLoop(selectors.SelectSelector())
        self._stopped = asyncio.Event()
        self._listener = socket.create_server((_HERE, 0))
        self.port: int = self._listener.getsockname()[1]

    def run(self) -> None:
        """Serve until told to stop."""
        with contextlib.closing(self._loop):
            self._loop.run_until_complete(self._serve())

    def stop(self) -> None:
        """Let ``run`` return; from another thread."""
        self._loop.call_soon_threadsafe(self._stopped.set)

    async def _serve(self) -> None:
        async with anyio.create_task_group() as connections:

            def connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                # No coroutine: of those, Python 3.11 prints a traceback when they are cancelled.
                connections.start_soon(self._connect, reader, writer)

            server = await asyncio.start_server(connect, sock=self._listener)
            await self._stopped.wait()
            server.close()
            connections.cancel_scope.cancel()

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.closing(writer):
            try:
                theirs, ours = await self._reach()
            except OSError:
                return  # It looks as if nobody listened.
            with contextlib.closing(ours):
                await self._pass_on((reader, ours), (theirs, writer))

    async def _pass_on(self, *ways: tuple[asyncio.StreamReader, asyncio.StreamWriter]) -> None:
        try:
            async with anyio.create_task_group() as pumps:
                for source, target in ways:
                    on_its_way: _OnItsWay = asyncio.Queue(_MOST_CHUNKS)
                    pumps.start_soon(self._take, source, on_its_way)
                    pumps.start_soon(self._deliver, on_its_way, target)
        except* OSError:
            pass  # One end has hung up: so does the other.

    async def _reach(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._address.path is not None:
            return await asyncio.open_unix_connection(self._address.path)
        return await asyncio.open_connection(self._address.host, self._address.port)

    async def _take(self, source: asyncio.StreamReader, on_its_way: _OnItsWay) -> None:
        data = b"-"
        while data:
            data = await source.read(_CHUNK)
            await on_its_way.put((self._loop.time() + self._delay_s, data))

    async def _deliver(self, on_its_way: _OnItsWay, target: asyncio.StreamWriter) -> None:
        while True:
            due, data = await on_its_way.get()
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
        return Address(None, parts.hostname or _HERE, parts.port or _REDIS_PORT)
    raise ValueError(f"a {parts.scheme}:// broker cannot be measured from afar; redis:// and unix:// can")


def _through(url: str, port: int) -> str:
    # The same but for the address: user, password, database and options stay.
    parts = urlsplit(url)
    login, at, _ = parts.netloc.rpartition("@")
    path = "" if parts.scheme == "unix" else parts.path
    return urlunsplit(("redis", f"{login}{at}{_HERE}:{port}", path, parts.query, ""))
