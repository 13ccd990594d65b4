"""Deployments of several servers: a primary with a replica and three sentinels, and a cluster of three nodes.

Each server is a child process of the test run, on loopback, with short time limits. Tests share none of them.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, Self

import redis

from tests.support.servers import ServerKind, ServerProcess, kinds_for
from tests.support.waiting import wait_until

SERVICE: Final = "jobs"
SLOTS: Final = 16_384
DOWN_AFTER_MS: Final = 500
_BUS_OFFSET: Final = 10_000


class _Servers:
    """Servers that start and close together."""

    def __init__(self) -> None:
        self.servers: list[ServerProcess] = []

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(self) -> None:
        """Start all servers; return once they know each other."""
        raise NotImplementedError

    def close(self) -> None:
        """Kill all servers."""
        for server in self.servers:
            server.close()

    def _started(self, server: ServerProcess) -> ServerProcess:
        self.servers.append(server)
        server.start()
        return server


class _Sentinel(ServerProcess):
    """A sentinel; it stores its state in its configuration file."""

    def __init__(self, primary: ServerProcess, down_after_ms: int) -> None:
        super().__init__(_kind())
        self._primary = primary
        self._down_after_ms = down_after_ms

    def _command(self) -> list[str]:
        configuration = self.folder / "sentinel.conf"
        if not configuration.exists():
            configuration.write_text(
                f"bind 127.0.0.1\nport {self._port}\nunixsocket {self.socket_path}\ndir {self.folder}\n"
                f"sentinel monitor {SERVICE} {' '.join(map(str, self._primary.address))} 2\n"
                f"sentinel down-after-milliseconds {SERVICE} {self._down_after_ms}\n"
                f"sentinel failover-timeout {SERVICE} {4 * self._down_after_ms}\n"
            )
        return [super()._command()[0], str(configuration), "--sentinel"]


class _ClusterNode(ServerProcess):
    def __init__(self, kind: ServerKind, *, options: Sequence[str]) -> None:
        super().__init__(kind, options=options)
        self._port = _port_with_bus()


class SentinelDeployment(_Servers):
    """One primary, one replica, and three sentinels that watch them.

    Args:
        down_after_ms: How long a server may be silent before it is considered dead. A short time causes unwanted
            failovers in tests that keep the machine busy.
    """

    def __init__(self, *, down_after_ms: int = DOWN_AFTER_MS) -> None:
        super().__init__()
        self._down_after_ms = down_after_ms

    def start(self) -> None:
        """Start all servers; return once the sentinels know the replica and each other."""
        first = self._started(ServerProcess(_kind()))
        second = self._started(ServerProcess(_kind(), options=["--replicaof", "{} {}".format(*first.address)]))
        self.nodes = [first, second]
        self.sentinels = [self._started(_Sentinel(first, self._down_after_ms)) for _ in range(3)]
        for sentinel in self.sentinels:
            wait_until(lambda: self._facts_of(sentinel), _is_complete, what="the sentinels to know each other")  # noqa: B023
        wait_until(lambda: facts_of(second, "INFO", "replication"), lambda facts: facts["master_link_status"] == "up")

    @property
    def url(self) -> str:
        """The URL for clients."""
        hosts = ",".join("{}:{}".format(*sentinel.address) for sentinel in self.sentinels)
        return f"redis+sentinel://{hosts}/{SERVICE}/0"

    @property
    def primary(self) -> ServerProcess:
        """The server that the sentinels name now."""
        for sentinel in self.sentinels:
            with contextlib.suppress(redis.RedisError):
                named = ask(sentinel, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", SERVICE)
                return next(node for node in self.nodes if node.address == (named[0].decode(), int(named[1])))
        raise AssertionError("no sentinel answers")

    def wait_for_failover_from(self, old: ServerProcess) -> ServerProcess:
        """Return the new primary, once the sentinels name it and it has taken the role."""
        wait_until(lambda: self.primary, lambda primary: primary is not old, what="a failover")
        new = self.primary
        wait_until(lambda: ask(new, "ROLE"), lambda role: role[0] == b"master", what="the new primary to know")
        return new

    def _facts_of(self, sentinel: ServerProcess) -> dict[bytes, bytes]:
        flat = iter(ask(sentinel, "SENTINEL", "MASTER", SERVICE))
        return dict(zip(flat, flat, strict=True))


def _is_complete(facts: dict[bytes, bytes]) -> bool:
    return facts[b"num-slaves"] == b"1" and facts[b"num-other-sentinels"] == b"2"


class ClusterDeployment(_Servers):
    """Three primaries without replicas, a third of the slots each."""

    def start(self) -> None:
        """Start all nodes; return once every node serves its slots."""
        self.nodes = [
            self._started(_ClusterNode(_kind(), options=["--cluster-enabled", "yes", "--cluster-node-timeout", "1000"]))
            for _ in range(3)
        ]
        shares = [range(SLOTS * number // 3, SLOTS * (number + 1) // 3) for number in range(3)]
        for node, share in zip(self.nodes, shares, strict=True):
            ask(node, "CLUSTER", "ADDSLOTS", *share)
        for other in self.nodes[1:]:
            ask(self.nodes[0], "CLUSTER", "MEET", *other.address)
        for node in self.nodes:
            self.wait_until_whole(node)

    @property
    def url(self) -> str:
        """The URL for clients."""
        return "redis+cluster://" + ",".join("{}:{}".format(*node.address) for node in self.nodes)

    def wait_until_whole(self, node: ServerProcess) -> None:
        """Wait until a node knows which node serves each slot."""
        wait_until(
            lambda: facts_of(node, "CLUSTER", "INFO"),
            lambda facts: facts["cluster_state"] == "ok" and facts["cluster_size"] == "3",
            what="the cluster",
        )

    def slot_of(self, key: str) -> int:
        """Return the slot of a key."""
        return int(ask(self.nodes[0], "CLUSTER", "KEYSLOT", key))

    def node_of(self, slot: int) -> ServerProcess:
        """Return the node that serves a slot, according to the first node that answers."""
        for node in self.nodes:
            with contextlib.suppress(redis.RedisError):
                for first, last, (_, port, *_), *_ in ask(node, "CLUSTER", "SLOTS"):
                    if first <= slot <= last:
                        return next(each for each in self.nodes if each.address[1] == port)
        raise AssertionError(f"no node serves slot {slot}")

    @contextlib.contextmanager
    def moving(self, slot: int, target: ServerProcess) -> Iterator[Callable[[int], None]]:
        """Migrate a slot; during the block the migration is in progress. Yields a function that moves some keys."""
        source = self.node_of(slot)
        names = {node: ask(node, "CLUSTER", "MYID").decode() for node in self.nodes}
        ask(target, "CLUSTER", "SETSLOT", slot, "IMPORTING", names[source])
        ask(source, "CLUSTER", "SETSLOT", slot, "MIGRATING", names[target])

        def move(count: int) -> None:
            if keys := ask(source, "CLUSTER", "GETKEYSINSLOT", slot, count):
                ask(source, "MIGRATE", *target.address, "", 0, 5_000, "KEYS", *keys)

        yield move
        while ask(source, "CLUSTER", "COUNTKEYSINSLOT", slot):
            move(1_000)
        # The new owner first: otherwise nodes would redirect clients to a node that refuses them.
        for node in (target, source, *(each for each in self.nodes if each not in {target, source})):
            ask(node, "CLUSTER", "SETSLOT", slot, "NODE", names[target])


def ask(server: ServerProcess, *words: Any) -> Any:
    """Send one command to one server and return its raw reply."""
    with redis.Redis.from_url(server.url, socket_timeout=5, retry=None, protocol=2) as client:
        client.response_callbacks.clear()
        return client.execute_command(*words)


def facts_of(server: ServerProcess, *words: Any) -> dict[str, str]:
    """Send one command that is answered in lines of ``name:value``, and return these."""
    lines = ask(server, *words).decode().splitlines()
    return dict(line.split(":", 1) for line in lines if ":" in line)


def _kind() -> ServerKind:
    (kind,) = kinds_for(crossed=False)
    return kind


def _port_with_bus() -> int:
    """A free port whose cluster bus has a free one, too."""
    while True:
        with socket.socket() as probe, socket.socket() as bus, contextlib.suppress(OSError, OverflowError):
            probe.bind(("127.0.0.1", 0))
            port: int = probe.getsockname()[1]
            bus.bind(("127.0.0.1", port + _BUS_OFFSET))
            return port
