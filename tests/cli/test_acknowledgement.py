"""What a terminal shows after ``enqueue``."""

from __future__ import annotations

from tests.support.command_line import Cli


def test_missing_worker_is_reported_on_a_terminal(cli: Cli) -> None:
    done = cli.on_terminal("enqueue", "-q", "builds", "true").done()

    assert done.code == 0
    assert "no live worker on queue builds; start one with: oneshot-queue worker -q builds" in done.text


def test_nothing_is_reported_if_a_worker_lives(served: Cli) -> None:
    done = served.on_terminal("enqueue", "true").done()

    assert done.text.count("\n") == 1
