"""``broker``: status, start and stop of the local broker."""

from __future__ import annotations

from tests.support.command_line import Cli


def test_local_broker_is_started_shown_and_stopped(local_cli: Cli) -> None:
    nothing = local_cli("broker", "status")
    assert (nothing.code, nothing.out) == (5, b"")
    assert "is not running" in nothing.err

    started = local_cli("broker", "start")
    assert started.code == 0
    assert started.text.splitlines()[0].split()[0] == "url"
    assert str(local_cli.state) in started.text
    assert local_cli("broker", "status").text == started.text
    assert local_cli("broker", "start").text == started.text

    stopped = local_cli("broker", "stop")
    assert (stopped.code, stopped.out) == (0, b"")
    assert "was stopped" in stopped.err
    assert "was not running" in local_cli("broker", "stop").err
    assert local_cli("broker", "status").code == 5


def test_jobs_survive_a_stop_of_the_local_broker(local_cli: Cli) -> None:
    job_id = local_cli("enqueue", "true").line
    local_cli("broker", "stop")

    assert local_cli.job(job_id)["state"] == "CREATED"


def test_unknown_broker_command_suggests_one(local_cli: Cli) -> None:
    done = local_cli("broker", "strat")

    assert done.code == 2
    assert "did you mean start" in done.err
