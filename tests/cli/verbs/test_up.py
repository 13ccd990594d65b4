"""``up``: the local broker and a worker in the foreground."""

from __future__ import annotations

import signal

import pytest

from tests.support.command_line import Cli


@pytest.mark.thorough
def test_up_runs_the_local_broker_and_a_worker(local_cli: Cli) -> None:
    up = local_cli.start("up", "-c", "2", "--name", "home")
    up.until("worker home")

    assert local_cli("run", "echo", "done").out == b"done\n"
    assert local_cli.job("last")["worker"] == "home"

    up.signal(signal.SIGINT)
    done = up.done()
    assert done.code == 0
    assert "local broker: redis-server" in done.err or "local broker: " in done.err
    assert local_cli("broker", "status").code == 0


def test_up_ignores_the_url_of_the_environment_and_says_so(local_cli: Cli) -> None:
    local_cli.env["ONESHOT_QUEUE_URL"] = "redis://127.0.0.1:1"
    up = local_cli.start("up")

    up.until("ignores ONESHOT_QUEUE_URL")
    up.until("worker ")

    up.signal(signal.SIGTERM)
    assert up.done().code == 0
