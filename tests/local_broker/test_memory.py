"""The in-memory broker, tested by redis-py over its unix socket."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import redis
import redis.asyncio as aioredis

from oneshot_queue.local_broker import LocalBroker, ensure_running
from tests.local_broker.conftest import Machine, client
from tests.support.limits import limit_s
from tests.support.waiting import eventually, wait_until

BLOB = bytes(range(256)) * 4096


@pytest.fixture
def broker(machine: Machine) -> LocalBroker:
    found = ensure_running()
    assert found.kind == "fakeredis"
    return found


@pytest.fixture(params=[{}, {"protocol": 2}, {"protocol": 3}], ids=["default", "RESP2", "RESP3"])
def options(request: pytest.FixtureRequest) -> dict[str, Any]:
    return dict(request.param)


@pytest.fixture
def blocking(broker: LocalBroker, options: dict[str, Any]) -> Any:
    return client(broker.url, **options)


@pytest.fixture
async def asynchronous(broker: LocalBroker, options: dict[str, Any]) -> AsyncIterator[Any]:
    async with aioredis.Redis.from_url(broker.url, socket_timeout=limit_s(10), retry=None, **options) as connected:
        yield connected


def test_values_arrive_as_they_were_sent(blocking: Any) -> None:
    for value in (b"", b"\r\n", b"+OK\r\n", BLOB):
        blocking.set("key", value)
        assert blocking.get("key") == value
        assert blocking.eval("return {ARGV[1], 1, false, 'x'}", 0, value) == [value, 1, None, b"x"]


def test_scripts_run_by_text_and_by_digest(blocking: Any) -> None:
    digest = blocking.script_load("return redis.call('INCRBY', KEYS[1], ARGV[1])")

    assert blocking.evalsha(str(digest), 1, "count", 5) == 5
    with pytest.raises(redis.exceptions.NoScriptError):
        blocking.evalsha("0" * 40, 0)


def test_a_stream_read_inside_a_script_has_the_same_shape_as_in_redis(blocking: Any) -> None:
    blocking.xadd("stream", {"field": "value"}, id="1-1")
    blocking.xgroup_create("stream", "group", id="0")
    read = "return redis.call('XREADGROUP', 'GROUP', 'group', 'me', 'COUNT', '9', 'STREAMS', KEYS[1], '>')"

    assert blocking.eval(read, 1, "stream") == [[b"stream", [[b"1-1", [b"field", b"value"]]]]]
    assert blocking.eval(f"return ({read.removeprefix('return ')}) == false", 1, "stream") == 1


def test_a_blocking_command_does_not_wait_inside_a_script(blocking: Any) -> None:
    assert blocking.eval("return redis.call('XREAD', 'BLOCK', '0', 'STREAMS', KEYS[1], '0')", 1, "nothing") is None


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("script", "error"),
    [
        ("return redis.error_reply('OWN a\\r\\nb')", "OWN a"),
        ("error('boom')", "boom"),
        ("return redis.call('LPUSH', KEYS[1], 'x')", "WRONGTYPE"),
        ("syntax(", "Error"),
    ],
)
def test_an_error_does_not_close_the_connection(blocking: Any, script: str, error: str) -> None:
    blocking.set("text", "x")
    before = blocking.client_id()

    with pytest.raises(redis.ResponseError, match=error):
        blocking.eval(script, 1, "text")

    assert blocking.client_id() == before


def test_errors_keep_their_code(blocking: Any) -> None:
    blocking.xgroup_create("stream", "group", id="0", mkstream=True)

    with pytest.raises(redis.ResponseError, match=r"^BUSYGROUP"):
        blocking.xgroup_create("stream", "group", id="0")
    with pytest.raises(redis.ResponseError, match=r"^NOGROUP"):
        blocking.xreadgroup("another", "me", {"stream": ">"})


@pytest.mark.thorough
@pytest.mark.parametrize("transaction", [True, False])
def test_long_pipelines_are_answered_in_order(blocking: Any, transaction: bool) -> None:
    with blocking.pipeline(transaction=transaction) as pipeline:
        for number in range(3000):
            pipeline.echo(f"{number:0100}")
        answers = pipeline.execute()

    assert [int(answer) for answer in answers] == list(range(3000))


def test_many_large_replies_in_one_pipeline_arrive(blocking: Any) -> None:
    blocking.set("blob", BLOB)
    with blocking.pipeline(transaction=False) as pipeline:
        for _ in range(20):
            pipeline.get("blob")

        assert pipeline.execute() == [BLOB] * 20


def test_info_and_config_get_are_answered(blocking: Any, broker: LocalBroker) -> None:
    facts = blocking.info()

    assert facts["process_id"] == broker.pid
    assert len(facts["run_id"]) == 40
    assert facts["tcp_port"] == 0
    assert facts["maxmemory_policy"] == "noeviction"
    assert blocking.info("server")["run_id"] == facts["run_id"]
    assert blocking.config_get("maxmemory*") == {"maxmemory": "0", "maxmemory-policy": "noeviction"}


def test_messages_reach_a_subscriber_and_pings_are_answered(blocking: Any) -> None:
    listener = blocking.pubsub()
    listener.subscribe("channel")
    assert listener.get_message(timeout=limit_s(10)) is not None

    blocking.publish("channel", b"\r\n\x00")
    message = listener.get_message(timeout=limit_s(10))
    listener.ping()
    pong = listener.get_message(timeout=limit_s(10))

    assert message is not None
    assert message["data"] == b"\r\n\x00"
    assert pong is not None
    assert pong["type"] == "pong"
    listener.close()


def test_killing_a_subscriber_ends_its_connection(blocking: Any) -> None:
    listener = blocking.pubsub()
    listener.subscribe("channel")
    listener.get_message(timeout=limit_s(10))
    assert listener.connection is not None

    assert blocking.execute_command("CLIENT", "KILL", "TYPE", "pubsub") == 1

    wait_until(lambda: blocking.publish("channel", "x") == 0)
    with pytest.raises(redis.ConnectionError):
        listener.connection.read_response()
    listener.close()


async def test_each_of_many_blocked_clients_gets_its_own_element(asynchronous: Any) -> None:
    waiting = [asyncio.ensure_future(asynchronous.blpop(["bell"])) for _ in range(20)]  # noqa: TID251 (gathered below)
    await eventually(lambda: blocked(asynchronous), lambda number: number == 20)

    await asynchronous.rpush("bell", *range(20))

    assert sorted(int(value) for _, value in await asyncio.gather(*waiting)) == list(range(20))


async def test_a_blocked_client_that_disconnects_takes_nothing(asynchronous: Any) -> None:
    waiting = asyncio.ensure_future(asynchronous.blpop(["bell"]))  # noqa: TID251 (cancelled below)
    await eventually(lambda: blocked(asynchronous), lambda number: number == 1)

    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)

    await eventually(lambda: blocked(asynchronous), lambda number: number == 0)
    await asynchronous.rpush("bell", "kept")
    assert await asynchronous.lrange("bell", 0, -1) == [b"kept"]


async def test_a_blocking_command_times_out(asynchronous: Any) -> None:
    assert await asynchronous.blpop(["nothing"], timeout=0.01) is None


async def test_messages_reach_an_asynchronous_subscriber(asynchronous: Any) -> None:
    async with asynchronous.pubsub() as listener:
        await listener.subscribe("one", "two")
        assert [(await listener.get_message(timeout=limit_s(10)))["data"] for _ in range(2)] == [1, 2]

        await asynchronous.publish("two", "hello")

        assert (await listener.get_message(timeout=limit_s(10)))["data"] == b"hello"


async def blocked(connected: Any) -> Any:
    return (await connected.info("clients"))["blocked_clients"]


def resources(pid: int) -> tuple[int, int]:
    return len(list(Path(f"/proc/{pid}/task").iterdir())), len(list(Path(f"/proc/{pid}/fd").iterdir()))


def test_disconnected_clients_leave_no_thread_and_no_descriptor(broker: LocalBroker) -> None:
    wait_until(lambda: resources(broker.pid)[0] == 1, what="the starter to disconnect")
    before = resources(broker.pid)
    openings = [b"", b"*2\r\n$9\r\nSUBSCRIBE\r\n$1\r\nc\r\n", b"*3\r\n$5\r\nBLPOP\r\n$1\r\nb\r\n$1\r\n0\r\n", b"*3"]
    with contextlib.ExitStack() as clients:
        for number in range(200):
            each = clients.enter_context(socket.socket(socket.AF_UNIX))
            each.connect(os.fspath(broker.folder / "broker.sock"))
            # Idle, subscribed, blocked without a timeout, and disconnected in the middle of a command.
            each.sendall(openings[number % 4])
        wait_until(lambda: resources(broker.pid)[0] == before[0] + 200)

    wait_until(lambda: resources(broker.pid), lambda now: now == before)
    assert client(broker.url).info("clients")["connected_clients"] == 1


def test_malformed_commands_are_refused_and_affect_no_other_client(broker: LocalBroker) -> None:
    for nonsense in (b"GET / HTTP/1.1\r\n\r\n", b"*1\r\n:5\r\n", b"*x\r\n", b"\xff\xfe\r\n"):
        with socket.socket(socket.AF_UNIX) as stranger:
            stranger.connect(os.fspath(broker.folder / "broker.sock"))
            stranger.sendall(nonsense)
            received = b""
            while data := stranger.recv(1000):
                received += data
            assert received.startswith(b"-ERR")

    assert client(broker.url).ping()


def test_a_subscriber_that_never_reads_is_disconnected(broker: LocalBroker) -> None:
    sender = client(broker.url)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.connect(os.fspath(broker.folder / "broker.sock"))
        listener.sendall(b"*2\r\n$9\r\nSUBSCRIBE\r\n$1\r\nc\r\n")
        wait_until(lambda: sender.publish("c", "x") == 1)

        receivers = [sender.publish("c", BLOB) for _ in range(40)]

    assert receivers[0] == 1
    wait_until(lambda: sender.publish("c", "x") == 0)


def test_an_idle_broker_sleeps(broker: LocalBroker) -> None:
    connected = [client(broker.url) for _ in range(50)]
    for each in connected:
        each.ping()
    start = time.monotonic()
    before = switches(broker.pid)

    wait_until(lambda: time.monotonic() - start, lambda waited_s: waited_s > 1)

    # One for the removal of expired keys, and some slack; polling every 10 ms would be 5,000.
    assert switches(broker.pid) - before < 200


def switches(pid: int) -> int:
    """How often the threads of a process have gone to sleep."""
    texts = [(each / "status").read_text() for each in Path(f"/proc/{pid}/task").iterdir()]
    return sum(int(text.partition("\nvoluntary_ctxt_switches:\t")[2].split()[0]) for text in texts)


def test_expired_keys_are_removed_without_being_read(machine: Machine) -> None:
    # A client cannot observe this: reading an expired key removes it.
    code = """
from pathlib import Path
from fakeredis import FakeRedis
from oneshot_queue.local_broker.memory.server import MemoryServer
server = MemoryServer(Path("socket"))
client = FakeRedis(server=server.fake_server)
client.set("kept", "x")
client.set("expired", "x", pxat=1_000_000_000_000)
server.service_actions()
print(list(server.fake_server.dbs[0]._dict))
"""

    assert machine.run_python(code, cwd=machine.root).stdout == "[b'kept']\n"
