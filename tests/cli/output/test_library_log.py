"""The library's warnings, as messages of the command line."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from tests.support.command_line import Cli
from tests.support.servers import ServerProcess


def test_logs_reports_an_outage_of_the_broker_and_its_end(
    fresh_server: ServerProcess, namespace: str, tmp_path: Path
) -> None:
    if not fresh_server.is_real:
        pytest.skip("fakeredis keeps no data")
    user = Cli(fresh_server.url, namespace, tmp_path / "state")
    job_id = user("enqueue", "true").line
    with closing(user.start("logs", "-f", job_id)) as running:
        running.until("no live worker")
        fresh_server.kill()
        running.until("30 s")
        fresh_server.start()
        running.until("oneshot-queue: the broker answers again")
        user("interrupt", job_id)
        done = running.done()
    user.close()

    assert done.code == 0
    assert done.err.count("30 s") == done.err.count("answers again") == 1
