"""The servers that the other tests rely on, and the detection of processes that a test leaves running."""

import subprocess

import pytest
import redis

from tests.support import leftovers
from tests.support.servers import GATE, Server, ServerProcess, kinds_for, known_kinds
from tests.support.waiting import wait_until


def test_bundled_servers_are_installed_where_they_must_be() -> None:
    assert [kind.missing for kind in known_kinds() if kind.missing] == []


def test_store_suite_runs_on_every_kind_and_other_tests_on_the_default_kind() -> None:
    assert kinds_for(crossed=True) == known_kinds()
    assert len(kinds_for(crossed=False)) == 1
    if any(kind.name == GATE for kind in known_kinds()):
        assert kinds_for(crossed=False)[0].name == GATE


def test_server_reports_the_version_of_its_kind(server: Server) -> None:
    with redis.Redis.from_url(server.url) as client:
        info = client.info("server")

    assert tuple(int(part) for part in info["redis_version"].split(".")) == server.version


def test_server_keeps_its_data_when_it_is_killed_and_evicts_nothing(fresh_server: ServerProcess) -> None:
    with redis.Redis.from_url(fresh_server.url) as client:
        client.set("kept", 1)
        assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
        assert client.config_get("appendonly") == {"appendonly": "yes"}

    fresh_server.kill()
    fresh_server.start()

    with redis.Redis.from_url(fresh_server.tcp_url) as client:
        assert client.get("kept") == b"1"


def test_paused_server_does_not_answer_until_it_is_resumed(fresh_server: ServerProcess) -> None:
    with redis.Redis.from_url(fresh_server.url, socket_timeout=0.1, retry=None) as client:
        client.ping()

        fresh_server.pause()
        with pytest.raises(redis.TimeoutError):
            client.ping()
        fresh_server.resume()

        assert client.ping()


def test_server_that_died_unexpectedly_is_reported(fresh_server: ServerProcess) -> None:
    with redis.Redis.from_url(fresh_server.url) as client:
        client.shutdown(nosave=True)
    wait_until(lambda: not fresh_server.is_alive, what="the server to end")

    with pytest.raises(AssertionError, match="died unnoticed"):
        fresh_server.assert_not_lost()
    fresh_server.start()


def test_orphan_of_a_test_is_reported_and_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.support.waiting.LIMIT_S", 0.05)
    before = leftovers.children()
    # The shell exits at once, and its child becomes an orphan.
    subprocess.run(["sh", "-c", "sleep 300 &"], stdout=subprocess.DEVNULL, start_new_session=True, check=True)

    with pytest.raises(AssertionError, match=r"left running: {\d+: 'sleep 300'}"):
        leftovers.assert_none_since(before)

    assert leftovers.children() == before
