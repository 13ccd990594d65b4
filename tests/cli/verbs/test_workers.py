"""``workers``: live workers and the jobs they run."""

from __future__ import annotations

import re
import socket

from tests.support.command_line import Cli
from tests.support.waiting import wait_until

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


def test_live_workers_and_their_jobs_are_listed(served: Cli) -> None:
    job_id = served("enqueue", "sleep", "60").line
    worker = wait_until(lambda: served("workers", "--json").json[0], lambda worker: job_id in worker["running"])

    assert (
        list(worker)
        == "name id host pid queues concurrency running started_at seen_at supervisor process processes layer".split()
    )
    assert (worker["process"], worker["processes"], len(worker["supervisor"])) == (1, 1, 32)
    assert worker["layer"] in ("cgroup", "subreaper")
    assert worker["host"] == socket.gethostname()
    assert worker["queues"] == ["default"]
    assert worker["concurrency"] == 4
    assert TIME.fullmatch(worker["started_at"])
    assert TIME.fullmatch(worker["seen_at"])
    assert f"{len(worker['running'])}/4" in served("workers").line
    assert "BUSY" in served.on_terminal("workers").done().text
    served("interrupt", "--now", job_id)
