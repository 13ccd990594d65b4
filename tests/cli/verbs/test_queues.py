"""``queues``: the counts of every queue."""

from __future__ import annotations

import pytest

from tests.cli.pretend_worker import PretendWorker
from tests.support.command_line import Cli


@pytest.mark.thorough
def test_every_state_and_ready_jobs_are_counted(cli: Cli, pretender: PretendWorker) -> None:
    waiting = [cli("enqueue", "true").line for _ in range(3)]
    pretender.claim(waiting[0])
    cli("interrupt", waiting[1])
    cli("enqueue", "-q", "builds", "true")

    counts = cli("queues", "--json").json

    none = dict.fromkeys(("CREATED", "RUNNING", "IDLE", "INTERRUPTED", "COMPLETED", "FAILED"), 0)
    assert counts == [
        {"queue": "builds", "states": none | {"CREATED": 1}, "ready": 1, "delayed": 0},
        {"queue": "default", "states": none | {"CREATED": 1, "RUNNING": 1, "INTERRUPTED": 1}, "ready": 1, "delayed": 0},
    ]
    assert cli("queues").text == "1  0  1  0  0  0  0  0  builds\n1  0  1  1  0  1  0  0  default\n"
    table = cli.on_terminal("queues", columns=40, env={"NO_COLOR": "1"}).done().text.splitlines()
    assert len(table) == 3
    assert all(len(line) <= 40 for line in table)
