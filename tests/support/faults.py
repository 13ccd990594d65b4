"""Faults of servers and processes, each of which makes sure that it happened."""

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
from tests.support.waiting import LIMIT_S, wait_until


@contextlib.contextmanager
def frozen(*pids: int) -> Iterator[None]:
    """Stop processes (SIGSTOP) for a while; they are known to stand still before this goes on."""
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
    """Let a process open files below this number only for a while; those it has stay open."""
    before = resource.prlimit(pid, resource.RLIMIT_NOFILE, (but, resource.prlimit(pid, resource.RLIMIT_NOFILE)[1]))
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            resource.prlimit(pid, resource.RLIMIT_NOFILE, before)


def kill_process(pid: int) -> None:
    """SIGKILL a process that is somebody else's child too, and see that it no longer runs."""
    with open_pidfd(pid) as pidfd:
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        wait_until(lambda: not states_of_threads(pid), what=f"process {pid} to be gone")


@contextlib.contextmanager
def open_pidfd(pid: int) -> Iterator[int]:
    """A handle of a process that names no other one later."""
    pidfd = os.pidfd_open(pid)
    try:
        yield pidfd
    finally:
        os.close(pidfd)


def states_of_threads(pid: int) -> set[str]:
    """The states of the threads that are not dead; nothing for a process that is."""
    states = set()
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        for name in os.listdir(f"/proc/{pid}/task"):
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                states.add(Path(f"/proc/{pid}/task/{name}/stat").read_text().rpartition(")")[2].split()[0])
    return states - {"Z", "X"}


def kill_connections(client: Any, kind: str = "normal") -> int:
    """Cut all connections of a kind (``normal`` or ``pubsub``) but this one; returns how many, at least one."""
    return wait_until(
        lambda: int(client.client_kill_filter(_type=kind, skipme=True)), what=f"a {kind} connection to kill"
    )


def pause_clients(client: Any, pause_s: float) -> float:
    """Let the server answer nobody for a while; returns how long it kept this one waiting."""
    client.client_pause(round(pause_s * 1000))
    began = time.monotonic()
    client.get("anything")
    waited_s = time.monotonic() - began
    assert waited_s > pause_s / 2, f"the fault did not happen: an answer came after {waited_s:g} s"
    return waited_s


def forget_scripts(client: Any, digest: str) -> None:
    """SCRIPT FLUSH: the server knew this script, and knows it no more."""
    assert client.script_exists(digest) == [True], "the fault would not be one: the script is not known"
    client.script_flush()
    assert client.script_exists(digest) == [False]


def empty(client: Any) -> int:
    """FLUSHALL; returns how many keys there were."""
    had = int(client.dbsize())
    assert had, "the fault would not be one: there is nothing to lose"
    client.flushall()
    return had


@contextlib.contextmanager
def full(client: Any) -> Iterator[None]:
    """Leave the server no memory for a while; a write has been refused before this goes on."""
    client.config_set("maxmemory", int(client.info("memory")["used_memory"]) // 2)
    try:
        with pytest.raises(redis.OutOfMemoryError):
            client.set("one-more", "x")
        yield
    finally:
        client.config_set("maxmemory", 0)


def aof_of(server: ServerProcess) -> Path:
    """The append-only file that a server writes to."""
    # One file until 6.2; a folder of a base and increments since 7.0.
    files = [*server.folder.glob("appendonlydir/*.incr.aof"), *server.folder.glob("appendonly.aof")]
    return max(files, key=lambda each: each.stat().st_mtime_ns)


def cut_aof_tail(server: ServerProcess, count: int) -> int:
    """Take the last bytes of a dead server's append-only file; returns how many are left.

    The server starts on what is left, as after a crash in the middle of a write.
    """
    assert not server.is_alive, "a running server would write over it"
    path = aof_of(server)
    left = path.stat().st_size - count
    assert left >= 0, f"{path.name} has only {left + count} bytes"
    os.truncate(path, left)
    return left


class Monitor:
    """All that a server is told by anyone, for as long as this is open."""

    def __init__(self, url: str) -> None:
        client: Any = redis.Redis.from_url(url, retry=None, protocol=2, socket_timeout=None)
        self._client = client
        self._watch = client.monitor()
        self._told: list[tuple[float, str]] = []
        self._by_scripts = 0
        self._thread = threading.Thread(target=self._read, daemon=True)

    def __enter__(self) -> Self:
        self._watch.__enter__()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(redis.RedisError, OSError):
            self._watch.connection._sock.shutdown(2)
        self._thread.join(LIMIT_S)
        self._client.close()

    def text(self) -> str:
        """What was said so far."""
        self._catch_up()
        return "\n".join(words for _, words in self._told)

    def instants_of(self, words: str) -> list[float]:
        """When it was told something with these words in it: seconds since 1970, by the server's clock."""
        self._catch_up()
        return [at_s for at_s, told in self._told if words in told]

    def count_sent(self) -> int:
        """How many commands clients have sent so far, this look included; what scripts do inside is not counted."""
        self._catch_up()
        return len(self._told) - self._by_scripts

    def _catch_up(self) -> None:
        """What we read may be behind what was said: say something ourselves, and read until we hear it."""
        marker = secrets.token_hex(8)
        self._client.echo(marker)
        wait_until(lambda: any(marker in words for _, words in self._told), what="the monitor to catch up")

    def _read(self) -> None:
        with contextlib.suppress(redis.RedisError, OSError, ValueError, AttributeError):
            while True:
                heard = self._watch.next_command()
                self._by_scripts += heard["client_type"] == "lua"
                self._told.append((float(heard["time"]), str(heard["command"])))
