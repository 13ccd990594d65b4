"""A server's facts are known before the first call reaches it."""

from __future__ import annotations

from typing import Any

import pytest

from oneshot_queue import BrokerRefused, BrokerUnreachable
from oneshot_queue.store import queues
from oneshot_queue.store.transport.connection import AsyncConnection, RunMany
from oneshot_queue.store.transport.handshake import Handshake, NoLongerPrimary
from oneshot_queue.store.transport.server_facts import ServerFacts, eviction_problem, read_facts, version_problem
from tests.support.builders import Store, append_facts_to
from tests.support.servers import Server, ServerProcess
from tests.support.waiting import eventually


async def test_facts_match_the_server(real_server: ServerProcess, real_store: Store) -> None:
    link = AsyncConnection(real_server.url, tracks_server=True)
    assert link.server is None

    await link.run(queues.ping())

    reported = await real_store.redis.info("server")
    assert link.server == ServerFacts(reported["run_id"], real_server.version, "standalone", "noeviction")
    assert link.facts_of("any key") == link.server
    await link.aclose()


async def test_callback_runs_once_on_every_kind_of_server(server: Server) -> None:
    seen: list[ServerFacts] = []
    link = AsyncConnection(server.url, tracks_server=True)
    link.on_new_server(append_facts_to(seen))

    for _ in range(3):
        await link.run(queues.ping())

    assert seen == [link.server]
    await link.aclose()


async def test_callback_runs_before_the_first_call_to_a_restarted_server(
    real_server: ServerProcess, real_store: Store
) -> None:
    calls_then: list[tuple[str | None, int]] = []
    calls = 0
    link = AsyncConnection(real_server.url, tracks_server=True)

    async def note(facts: ServerFacts, _: RunMany) -> None:
        calls_then.append((facts.run_id, calls))

    link.on_new_server(note)
    for _ in range(2):
        await link.run(queues.ping())
        calls += 1
    real_server.kill()
    with pytest.raises(BrokerUnreachable):
        await link.run(queues.ping())
    real_server.start()

    await link.run(queues.ping())

    assert [calls for _, calls in calls_then] == [0, 2]
    assert len({run_id for run_id, _ in calls_then}) == 2
    await link.aclose()


async def test_further_connections_to_the_same_run_do_not_call_back(
    real_server: ServerProcess, real_store: Store
) -> None:
    seen: list[ServerFacts] = []
    link = AsyncConnection(real_server.url, tracks_server=True)
    link.on_new_server(append_facts_to(seen))
    await link.run(queues.ping())
    before = (await real_store.redis.info("stats"))["total_connections_received"]
    await real_store.redis.client_kill_filter(_type="normal", skipme=True)

    async def has_reconnected() -> Any:
        await link.run(queues.ping())
        return (await real_store.redis.info("stats"))["total_connections_received"] > before

    await eventually(has_reconnected, what="a new connection")

    assert len(seen) == 1
    await link.aclose()


async def test_connection_without_tracking_sends_no_info(real_server: ServerProcess, real_store: Store) -> None:
    await real_store.redis.config_resetstat()
    link = AsyncConnection(real_server.url)

    await link.run(queues.ping())

    assert "cmdstat_info" not in await real_store.redis.info("commandstats")
    await link.aclose()


async def test_server_that_forbids_info_is_used_without_facts(real_server: ServerProcess, real_store: Store) -> None:
    await real_store.redis.execute_command("ACL", "SETUSER", "app", "on", ">x", "~*", "&*", "+@all", "-info")
    link = AsyncConnection(f"{real_server.url}?username=app&password=x", tracks_server=True)

    await link.run(queues.ping())

    assert link.server == ServerFacts()
    assert eviction_problem(ServerFacts()) is None
    await link.aclose()


async def test_eviction_policy_is_reported(real_server: ServerProcess, real_store: Store) -> None:
    await real_store.redis.config_set("maxmemory-policy", "allkeys-lru")
    link = AsyncConnection(real_server.url, tracks_server=True)

    await link.run(queues.ping())

    assert link.server is not None
    problem = eviction_problem(link.server)
    assert problem is not None
    assert "allkeys-lru" in problem
    await link.aclose()


@pytest.mark.parametrize(
    ("reported", "is_old"),
    [("5.0.14", True), ("6.0.16", True), ("6.2.0", False), ("7.2", False), ("255.255.255", False)],
)
def test_server_older_than_the_oldest_is_refused(reported: str, is_old: bool) -> None:
    facts = read_facts([f"# Server\r\nredis_version:{reported}\r\nrun_id:abc\r\n".encode(), b""])
    handshake = Handshake("redis://:secret@host", asks_for_facts=True)

    assert (version_problem(facts) is not None) == is_old
    if is_old:
        with pytest.raises(BrokerRefused, match=r"needs Redis 6\.2 or later") as refusal:
            handshake.check([f"redis_version:{reported}".encode(), b""], is_listener=False)
        assert refusal.value.needs_person
        assert "secret" not in str(refusal.value)


@pytest.mark.parametrize(
    "reported", [b"", b"redis_version:", b"redis_version:x.y", b":::\r\n:", b"\xff\xfe:\x00", None, 7]
)
def test_invalid_info_yields_no_facts(reported: object) -> None:
    assert read_facts([reported, reported]) == ServerFacts()


@pytest.mark.parametrize("role", [b"slave", b"sentinel"])
def test_server_that_is_not_a_primary_is_rejected_if_one_is_needed(role: bytes) -> None:
    with pytest.raises(NoLongerPrimary):
        Handshake("redis://host", is_primary_needed=True).check([[role, b"x"]], is_listener=True)

    Handshake("redis://host", is_primary_needed=True).check([[b"master", 0, []]], is_listener=True)
