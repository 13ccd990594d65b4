"""What commands do on the in-memory broker beyond fakeredis, or differently."""

from __future__ import annotations

import os
import threading
import time
import traceback
from collections.abc import Callable, Iterable
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Final

from fakeredis import FakeServer
from fakeredis._clients._tcp_server import encode_reply
from fakeredis._commands import command
from fakeredis._helpers import NoResponse, SimpleError, compile_pattern
from fakeredis._socket import FakeSocket

if TYPE_CHECKING:
    from oneshot_queue.local_broker.memory.link import Link

# A client that repeats a fault must not fill the disk with tracebacks.
_MAX_REPORTS: Final = 50
_reports_left = [_MAX_REPORTS]


class MemorySocket(FakeSocket):
    """fakeredis' side of one connection. Replies go straight to the link, and a wait ends when the client is gone."""

    def __init__(self, server: FakeServer, link: Link, client_info: dict[str, Any]) -> None:
        self._link = link
        self._confirms = False
        super().__init__(server, 0, client_class=object, client_info=client_info)

    def put_response(self, msg: Any) -> None:
        """Send a reply, or a message that another connection's thread publishes."""
        protocol = self._client_info.protocol_version
        encoded = _encode(msg, protocol)
        is_push = self._confirms or threading.get_ident() != self._link.owner
        # In RESP3, the first byte distinguishes a push message from a reply.
        self._link.put(b">" + encoded[1:] if is_push and protocol == 3 else encoded)

    @property
    def is_blocked(self) -> bool:
        """Whether a blocking command is waiting."""
        return self._blocked

    def forget(self) -> None:
        """Remove this client from the server. The caller holds the server's lock."""
        for waiting in self._server.ssubscribers.values():
            waiting.discard(self)
        self._cleanup(self._server)
        self.close()

    def kill(self) -> None:
        """End this connection at once, for CLIENT KILL. fakeredis alone would let a subscriber keep listening."""
        super().kill()
        self._link.is_cut_off = True
        self._link.wake()

    def _process_command(self, fields: list[bytes]) -> None:
        try:
            super()._process_command(fields)
        except ConnectionError:
            raise
        except Exception as problem:  # noqa: BLE001 (fakeredis fails in many ways; one command must not stop others)
            # If fakeredis fails, the caller gets an error and keeps the connection.
            if _reports_left[0] > 0:
                _reports_left[0] -= 1
                traceback.print_exc()
            self.put_response(SimpleError(f"ERR the in-memory broker failed: {type(problem).__name__}: {problem}"))

    def _blocking(
        self, timeout: float | None, func: Callable[[bool], Any], shape: Callable[[Any], Any] | None = None
    ) -> Any:
        """Wait until ``func`` returns a value, as fakeredis does, but not if the client is gone or in a script."""

        def shaped(found: Any) -> Any:
            return found if shape is None else shape(found)

        found = func(True)
        # Redis does not wait in a script or in a transaction either.
        if found is not None or self._in_transaction or self._script_resp is not None:
            return shaped(found)
        deadline = time.monotonic() + timeout if timeout else None
        server, database = self._server, self._db
        self._blocked = True
        database.add_change_callback(self._link.wake)
        try:
            while found is None:
                left_s = None if deadline is None else deadline - time.monotonic()
                if left_s is not None and left_s <= 0:
                    break
                server.lock.release()
                try:
                    self._link.wait(for_data=False, timeout_s=left_s)
                finally:
                    server.lock.acquire()
                if self._unblock_reason is not None:
                    self._take_unblock_reason()
                    break
                found = func(False)
            return shaped(found)
        finally:
            database.remove_change_callback(self._link.wake)
            self._blocked = False
            self._unblock_reason = None

    def _xreadgroup_reply(self, res: dict[bytes, Any] | None) -> dict[bytes, Any] | list[Any] | None:
        # In a script, the reply has the script's shape, not the caller's. fakeredis confuses them for RESP3 callers.
        if self._resp_version == 2:
            return [[name, entries] for name, entries in res.items()] if res else None
        return super()._xreadgroup_reply(res)

    def _subscribe(self, channels: Iterable[bytes], subscribers: dict[bytes, Any], mtype: bytes) -> NoResponse:
        self._confirms = True
        try:
            return super()._subscribe(channels, subscribers, mtype)
        finally:
            self._confirms = False

    def _unsubscribe(self, channels: Iterable[bytes], subscribers: dict[bytes, Any], mtype: bytes) -> NoResponse:
        self._confirms = True
        try:
            return super()._unsubscribe(channels, subscribers, mtype)
        finally:
            self._confirms = False

    @command(name="INFO", fixed=(), repeat=(bytes,))
    def info(self, *sections: bytes) -> bytes:
        """INFO, which fakeredis lacks."""
        wanted = {section.decode(errors="replace").lower() for section in sections} - {"all", "default", "everything"}
        lines: list[str] = []
        for name, facts in self._facts().items():
            if not wanted or name.lower() in wanted:
                lines += [f"# {name}", *(f"{fact}:{value}" for fact, value in facts.items()), ""]
        return "\r\n".join(lines).encode()

    @command(name="SHUTDOWN", fixed=(), repeat=(bytes,))
    def shut_down(self, *_: bytes) -> None:
        """SHUTDOWN, which fakeredis lacks."""
        server: Any = self._server
        server.end()

    @command(name="CONFIG GET", fixed=(bytes,), repeat=(bytes,))
    def config_get(self, *patterns: bytes) -> dict[bytes, bytes]:
        """CONFIG GET, which fakeredis lacks, for the settings that clients check."""
        settings = {b"maxmemory": b"0", b"maxmemory-policy": b"noeviction", b"appendonly": b"no", b"save": b""}
        wanted = [compile_pattern(pattern.lower()) for pattern in patterns]
        known = {**settings, **self._server.config}
        return {name: value for name, value in known.items() if any(regex.match(name) for regex in wanted)}

    def _facts(self) -> dict[str, dict[str, object]]:
        server: Any = self._server
        redis_version = ".".join(str(number) for number in (*self._server.version, 0, 0)[:3])
        with open("/proc/self/statm") as memory:
            resident = int(memory.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        sizes = {f"db{number}": len(database) for number, database in self._server.dbs.items()}
        return {
            "Server": {
                "redis_version": redis_version,
                "server_name": "fakeredis",
                "fakeredis_version": version("fakeredis"),
                "redis_mode": "standalone",
                "process_id": os.getpid(),
                "run_id": server.run_id,
                "tcp_port": 0,
                "uptime_in_seconds": int(time.monotonic() - server.started_at),
            },
            "Clients": {
                "connected_clients": len(self._server.sockets),
                "blocked_clients": sum(each.is_blocked for each in self._server.sockets),
            },
            "Memory": {"used_memory": resident, "used_memory_rss": resident, "maxmemory": 0}
            | {"maxmemory_policy": "noeviction"},
            "Persistence": {"loading": 0, "aof_enabled": 0},
            "Replication": {"role": "master", "connected_slaves": 0},
            "Keyspace": {name: f"keys={size},expires=0,avg_ttl=0" for name, size in sizes.items() if size},
        }


def _encode(reply: Any, protocol: int) -> bytes:
    encoded: bytes = encode_reply(reply, protocol)
    if isinstance(reply, Exception):
        # A line break in an error would make the client read the rest as the next reply.
        return encoded[:-2].replace(b"\r", b" ").replace(b"\n", b" ") + b"\r\n"
    return encoded
