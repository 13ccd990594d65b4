"""Faults of servers and processes; each one checks that it happened."""

from __future__ import annotations

import contextlib
import os
import resource
import secrets
import signal
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, Self

import pytest
import redis

from tests.support.servers import ServerProcess
from tests.support.waiting import TIMEOUT_S, wait_until


@contextlib.contextmanager
def frozen(*pids: int) -> Iterator[None]:
    """Freeze processes with SIGSTOP; the block starts once all their threads are stopped."""
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        for pid in pids:
            wait_until(partial(states_of_threads, pid), lambda seen: seen == {"T"}, what=f"{pid} to stop")
        yield
    finally:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


@contextlib.contextmanager
def without_descriptors(pid: int, *, but: int = 3) -> Iterator[None]:
    """Limit a process to descriptors below ``but``; descriptors that are open stay open."""
    before = resource.prlimit(pid, resource.RLIMIT_NOFILE, (but, resource.prlimit(pid, resource.RLIMIT_NOFILE)[1]))
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            resource.prlimit(pid, resource.RLIMIT_NOFILE, before)


def kill_process(pid: int) -> None:
    """SIGKILL any process, and wait until it no longer runs."""
    with open_pidfd(pid) as pidfd:
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        wait_until(lambda: not states_of_threads(pid), what=f"process {pid} to be gone")


@contextlib.contextmanager
def open_pidfd(pid: int) -> Iterator[int]:
    """A pidfd: unlike a pid, it never refers to another process."""
    pidfd = os.pidfd_open(pid)
    try:
        yield pidfd
    finally:
        os.close(pidfd)


def states_of_threads(pid: int) -> set[str]:
    """The states of the live threads; empty for a dead process."""
    states = set()
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        for name in os.listdir(f"/proc/{pid}/task"):
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                states.add(Path(f"/proc/{pid}/task/{name}/stat").read_text().rpartition(")")[2].split()[0])
    return states - {"Z", "X"}


def kill_connections(client: Any, kind: str = "normal") -> int:
    """Kill all connections of a kind (``normal`` or ``pubsub``) except this one; returns their number, at least 1."""
    return wait_until(
        lambda: int(client.client_kill_filter(_type=kind, skipme=True)), what=f"a {kind} connection to kill"
    )


def pause_clients(client: Any, pause_s: float) -> float:
    """Pause all clients (CLIENT PAUSE); returns the seconds for which this client had to wait."""
    client.client_pause(round(pause_s * 1000))
    began = time.monotonic()
    client.get("anything")
    waited_s = time.monotonic() - began
    assert waited_s > pause_s / 2, f"the fault did not happen: the server answered after {waited_s:g} s"
    return waited_s


def forget_scripts(client: Any, digest: str) -> None:
    """Flush the script cache (SCRIPT FLUSH), which contained this script."""
    assert client.script_exists(digest) == [True], "the fault cannot happen: the script is not cached"
    client.script_flush()
    assert client.script_exists(digest) == [False]


def empty(client: Any) -> int:
    """Delete every key (FLUSHALL); returns the number of keys there were."""
    had = int(client.dbsize())
    assert had, "the fault cannot happen: the server has no keys"
    client.flushall()
    return had


@contextlib.contextmanager
def full(client: Any) -> Iterator[None]:
    """Exceed the server's memory limit; the block starts once a write was refused."""
    client.config_set("maxmemory", int(client.info("memory")["used_memory"]) // 2)
    try:
        with pytest.raises(redis.OutOfMemoryError):
            client.set("one-more", "x")
        yield
    finally:
        client.config_set("maxmemory", 0)


def aof_of(server: ServerProcess) -> Path:
    """The append-only file to which a server writes."""
    # One file up to 6.2; a folder with a base and increments since 7.0.
    files = [*server.folder.glob("appendonlydir/*.incr.aof"), *server.folder.glob("appendonly.aof")]
    return max(files, key=lambda each: each.stat().st_mtime_ns)


def cut_aof_tail(server: ServerProcess, count: int) -> int:
    """Cut bytes from the end of a dead server's append-only file; returns how many are left.

    The server then starts as after a crash in the middle of a write.
    """
    assert not server.is_alive, "a running server would overwrite it"
    path = aof_of(server)
    left = path.stat().st_size - count
    assert left >= 0, f"{path.name} has only {left + count} bytes"
    os.truncate(path, left)
    return left


class Monitor:
    """Records every command that a server receives from any client while this is open (MONITOR)."""

    def __init__(self, url: str) -> None:
        client: Any = redis.Redis.from_url(url, retry=None, protocol=2, socket_timeout=None)
        self._client = client
        self._watch = client.monitor()
        self._commands: list[tuple[float, str]] = []
        self._by_scripts = 0
        self._thread = threading.Thread(target=self._read, daemon=True)

    def __enter__(self) -> Self:
        self._watch.__enter__()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(redis.RedisError, OSError):
            self._watch.connection._sock.shutdown(2)
        self._thread.join(TIMEOUT_S)
        self._client.close()

    def text(self) -> str:
        """All commands so far, one a line."""
        self._catch_up()
        return "\n".join(words for _, words in self._commands)

    def instants_of(self, words: str) -> list[float]:
        """The times of the commands that contain these words, in seconds since 1970 by the server's clock."""
        self._catch_up()
        return [at_s for at_s, command in self._commands if words in command]

    def count_sent(self) -> int:
        """Number of commands that clients sent so far, including this one; commands inside scripts are not counted."""
        self._catch_up()
        return len(self._commands) - self._by_scripts

    def _catch_up(self) -> None:
        """Send a marker of our own and read until it arrives: what was read so far may lag behind."""
        marker = secrets.token_hex(8)
        self._client.echo(marker)
        wait_until(lambda: any(marker in words for _, words in self._commands), what="the monitor to catch up")

    def _read(self) -> None:
        with contextlib.suppress(redis.RedisError, OSError, ValueError, AttributeError):
            while True:
                received = self._watch.next_command()
                self._by_scripts += received["client_type"] == "lua"
                self._commands.append((float(received["time"]), str(received["command"])))
