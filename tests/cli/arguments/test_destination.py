"""Which broker a verb uses, and how other commands reach it."""

from __future__ import annotations

import pytest

from tests.support.command_line import Cli
from tests.support.servers import Server
from tests.support.waiting import wait_until


def test_url_before_or_after_the_verb_overrides_the_environment(cli: Cli, server: Server) -> None:
    nowhere = {"ONESHOT_QUEUE_URL": "redis://127.0.0.1:1"}

    before = cli("--url", server.url, "enqueue", "true", env=nowhere).line
    after = cli("enqueue", "--url", server.url, "true", env=nowhere).line

    assert {job["id"] for job in cli("ls", "--json").json} == {before, after}


def test_without_a_url_the_local_broker_is_used(local_cli: Cli) -> None:
    job_id = local_cli("enqueue", "true").line

    assert local_cli.job(job_id)["state"] == "CREATED"
    assert local_cli("broker", "status").code == 0


@pytest.mark.thorough
@pytest.mark.parametrize("verb", [["ls"], ["enqueue", "true"], ["workers"]], ids=lambda words: words[0])
def test_verbs_start_the_local_broker_once_and_leave_it_running(local_cli: Cli, verb: list[str]) -> None:
    verbs = [local_cli.start(*verb) for _ in range(5)]

    assert [each.done().code for each in verbs] == [0] * 5
    wait_until(lambda: local_cli("broker", "status").code, lambda code: code == 0)


def test_worker_command_names_the_broker(cli: Cli, server: Server) -> None:
    done = cli.on_terminal("--url", server.url, "enqueue", "true").done()

    assert f"oneshot-queue --url {server.url} worker -q default" in done.text
