"""Redis' refusals are classified as temporary or as needing a person, each with advice."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import redis
from redis import exceptions
from redis._parsers.base import BaseParser

from oneshot_queue import BrokerError, BrokerRefused, BrokerUnreachable
from oneshot_queue.states import JobState
from oneshot_queue.store import claims, leases, presence, queues
from oneshot_queue.store.calls import packed, plain
from oneshot_queue.store.transport.connection import AsyncConnection
from oneshot_queue.store.transport.refusals import PERMISSIONS, REFUSALS, broker_error, code_of
from tests.support.builders import Store, a_chunk, a_presence
from tests.support.cases import case
from tests.support.servers import ServerProcess, kinds_for
from tests.support.waiting import eventually, wait_until


async def refusal_of_a_write(store: Store) -> BrokerError:
    with pytest.raises(BrokerError) as refusal:
        await store.enqueue()
    return refusal.value


@contextmanager
def busy_with(client: Any, *command: Any) -> Iterator[None]:
    """Run a command that keeps the server busy during the block, which may end it."""

    def keep_busy() -> None:
        try:
            client.execute_command(*command)
        except redis.RedisError:
            return  # ended by the test

    thread = threading.Thread(target=keep_busy)
    thread.start()
    try:
        yield
    finally:
        thread.join()


async def test_server_that_a_script_keeps_busy_is_temporarily_unreachable(
    real_server: ServerProcess, real_store: Store
) -> None:
    await real_store.redis.config_set("lua-time-limit", 10)
    with (
        redis.Redis.from_url(real_server.url, socket_timeout=30, retry=None) as client,
        redis.Redis.from_url(real_server.url, retry=None) as killer,
        busy_with(client, "EVAL", "while true do end", 0),
    ):

        def refusal() -> str:
            try:
                return str(killer.ping())
            except redis.RedisError as error:
                return code_of(error) or ""

        wait_until(refusal, lambda message: message == "BUSY", what="a busy server")

        answer = await refusal_of_a_write(real_store)

        killer.script_kill()
    assert isinstance(answer, BrokerUnreachable)
    assert answer.is_passing
    assert "SCRIPT KILL" in str(answer)
    await real_store.enqueue()


@case("R10")
async def test_server_that_is_loading_its_data_is_temporarily_unreachable() -> None:
    (kind,) = kinds_for(crossed=False)
    server = ServerProcess(
        kind, options=["--enable-debug-command", "yes", "--loading-process-events-interval-bytes", "1024"]
    )
    server.start()
    try:
        link = AsyncConnection(server.url)
        with redis.Redis.from_url(server.url, socket_timeout=30, retry=None) as client:
            client.mset({f"key-{number}": "x" * 1_000 for number in range(1_000)})
            client.config_set("key-load-delay", 1_000)
            with busy_with(client, "DEBUG", "RELOAD"):

                async def refusal() -> Any:
                    try:
                        await link.run(plain("GET", "key-1", read=bytes))
                    except BrokerError as error:
                        return error
                    return None

                answer = await eventually(refusal, what="a server that is loading")
        await link.aclose()
    finally:
        server.close()

    assert isinstance(answer, BrokerUnreachable)
    assert answer.is_passing
    assert "once its data is in memory" in str(answer)


async def test_server_that_cannot_save_refuses_temporarily(real_server: ServerProcess, real_store: Store) -> None:
    (real_server.folder / "dump.rdb").mkdir()
    await real_store.redis.config_set("save", "3600 1")
    await real_store.redis.bgsave()

    async def has_failed() -> Any:
        facts = await real_store.redis.info("persistence")
        return facts["rdb_last_bgsave_status"] == "err"

    await eventually(has_failed, what="a save that failed")

    answer = await refusal_of_a_write(real_store)

    assert isinstance(answer, BrokerRefused)
    assert answer.is_passing
    assert "disk" in str(answer)


async def test_server_without_its_replicas_refuses_temporarily(real_store: Store) -> None:
    await real_store.redis.config_set("min-replicas-to-write", 1)

    answer = await refusal_of_a_write(real_store)

    assert isinstance(answer, BrokerRefused)
    assert answer.is_passing
    assert "min-replicas-to-write" in str(answer)


async def test_replica_refuses_temporarily(real_store: Store) -> None:
    await real_store.redis.replicaof("127.0.0.1", 1)

    answer = await refusal_of_a_write(real_store)

    assert isinstance(answer, BrokerRefused)
    assert answer.is_passing
    assert "connect to the primary" in str(answer)


async def test_replica_that_lost_its_primary_is_temporarily_unreachable(real_store: Store) -> None:
    await real_store.redis.config_set("replica-serve-stale-data", "no")
    await real_store.redis.replicaof("127.0.0.1", 1)

    answer = await refusal_of_a_write(real_store)

    assert isinstance(answer, BrokerUnreachable)
    assert "lost its primary" in str(answer)


async def test_server_with_too_many_clients_is_temporarily_unreachable(
    real_server: ServerProcess, real_store: Store
) -> None:
    await real_store.redis.config_set("maxclients", 1)
    link = AsyncConnection(real_server.url)

    with pytest.raises(BrokerUnreachable) as refusal:
        await link.run(queues.ping())

    assert refusal.value.is_passing
    # Its message may or may not arrive before the connection closes.
    assert (await real_store.redis.info("stats"))["rejected_connections"] == 1
    await real_store.redis.config_set("maxclients", 100)
    await link.run(queues.ping())
    await link.aclose()


async def test_missing_permission_needs_a_person_also_inside_a_script(
    real_server: ServerProcess, real_store: Store
) -> None:
    await real_store.redis.execute_command("ACL", "SETUSER", "app", "on", ">x", "~*", "&*", "+@all", "-xadd", "-rpush")
    link = AsyncConnection(f"{real_server.url}?username=app&password=x")
    store = Store(link, real_store.redis, real_store.keys)

    answers = [await refusal_of_a_write(store)]
    with pytest.raises(BrokerRefused) as refusal:
        await link.run(claims.ring(store.keys))
    answers.append(refusal.value)

    assert [(answer.needs_person, answer.is_passing) for answer in answers] == [(True, False)] * 2
    await link.aclose()


async def test_permissions_that_the_advice_names_are_sufficient(real_server: ServerProcess, real_store: Store) -> None:
    rules = PERMISSIONS.replace("oq", real_store.keys.namespace).split()
    await real_store.redis.execute_command("ACL", "SETUSER", "app", "reset", "resetchannels", "on", ">x", *rules)
    link = AsyncConnection(f"{real_server.url}?username=app&password=x", tracks_server=True)
    store = Store(link, real_store.redis, real_store.keys, real_store.settings)

    held = await store.running()
    await store.append(held, a_chunk(1))
    await store.interrupt(held.id)
    await link.run(leases.renew(store.keys, held.holder.lease, 30.0))
    await store.finish(held)
    await link.run(claims.ring(store.keys))
    await link.run(claims.wait_for_bell(store.keys, 0.01))
    await link.run_many(queues.counts(store.keys))
    await link.run(presence.show_presence(store.keys.namespace, a_presence()))
    async with link.dedicated() as subscriber:
        await subscriber.send_packed_command(packed([("SUBSCRIBE", store.keys.control)]))
        subscribed = await subscriber.read_response()
    known = await store.record_of(held.id)

    assert link.server is not None
    assert link.server.run_id is not None
    assert subscribed[0] == b"subscribe"
    assert known.state is JobState.COMPLETED
    assert [chunk.data for chunk in await store.chunks(held)] == [a_chunk(1).data]
    await link.aclose()


@case("R10")
async def test_password_that_changed_needs_a_person(real_server: ServerProcess, real_store: Store) -> None:
    await real_store.redis.config_set("requirepass", "new")

    for login in ("", "?password=old"):
        link = AsyncConnection(f"{real_server.url}{login}")
        with pytest.raises(BrokerRefused) as refusal:
            await link.run(queues.ping())
        assert refusal.value.needs_person
        await link.aclose()


async def test_server_that_lacks_a_command_needs_a_person(real_store: Store) -> None:
    with pytest.raises(BrokerRefused, match=r"needs Redis 6\.2") as refusal:
        await real_store.run(plain("XNEVER", "key", read=bytes))

    assert refusal.value.needs_person


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ("LOADING Redis is loading the dataset in memory", "LOADING"),
        ("BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.", "BUSY"),
        ("MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.", "MASTERDOWN"),
        ("CLUSTERDOWN Hash slot not served", "CLUSTERDOWN"),
        ("TRYAGAIN Multiple keys request during rehashing of slot", "TRYAGAIN"),
        ("UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)", "UNBLOCKED"),
        ("ERR max number of clients reached", "MAXCLIENTS"),
        ("ERR max number of clients + cluster connections reached", "MAXCLIENTS"),
        ("READONLY You can't write against a read only replica.", "READONLY"),
        ("OOM command not allowed when used memory > 'maxmemory'.", "OOM"),
        ("ERR Error running script (call to f_1): @user_script:8: -OOM command not allowed", "OOM"),
        ("ERR Error running script (call to f_1): @user_script:8: -READONLY You can't write", "READONLY"),
        ("MISCONF Errors writing to the AOF file: No space left on device", "MISCONF"),
        ("NOREPLICAS Not enough good replicas to write.", "NOREPLICAS"),
        ("NOPERM this user has no permissions to run the 'xadd' command", "NOPERM"),
        ("ERR Error running script: The user executing the script can't run this command or subcommand", "NOPERM"),
        ("ERR ACL failure in script: User app has no permissions to run the 'xadd' command", "NOPERM"),
        ("WRONGPASS invalid username-password pair or user is disabled.", "WRONGPASS"),
        ("NOAUTH Authentication required.", "NOAUTH"),
        ("ERR unknown command `EVALSHA`, with args beginning with: ", "UNKNOWN"),
        ("ERR Error running script: Unknown Redis command called from Lua script", "UNKNOWN"),
        ("MOVED 3999 127.0.0.1:6381", "MOVED"),
        ("ASK 3999 127.0.0.1:6381", "ASK"),
        ("CROSSSLOT Keys in request don't hash to the same slot", "CROSSSLOT"),
        ("NOGROUP No such key 'x' or consumer group 'workers'", "NOGROUP"),
        ("NOSCRIPT No matching script. Please use EVAL.", "NOSCRIPT"),
        ("EXECABORT Transaction discarded because of previous errors.", "EXECABORT"),
    ],
)
def test_refusal_is_recognised_by_its_text(message: str, code: str) -> None:
    parse: Any = BaseParser.parse_error  # untyped
    error = parse(message)

    assert code_of(error) == code
    answer = broker_error("redis://host", error)
    assert isinstance(answer, BrokerUnreachable if REFUSALS[code].is_unavailable else BrokerRefused)
    assert (answer.is_passing, answer.needs_person) == (REFUSALS[code].is_passing, REFUSALS[code].needs_person)
    assert REFUSALS[code].advice in str(answer)


def test_refusal_with_an_unknown_code_is_neither_temporary_nor_permanent() -> None:
    answer = broker_error("redis://host", exceptions.ResponseError("FUNNY thing"))

    assert isinstance(answer, BrokerRefused)
    assert not answer.is_passing
    assert not answer.needs_person


def test_no_refusal_is_both_temporary_and_permanent() -> None:
    assert [code for code, refusal in REFUSALS.items() if refusal.is_passing and refusal.needs_person] == []
