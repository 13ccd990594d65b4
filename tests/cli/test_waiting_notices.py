"""Notices to a user whose job makes no progress."""

from __future__ import annotations

import signal

from tests.cli.pretend_worker import PretendWorker
from tests.support.command_line import Cli
from tests.support.servers import Server


def test_a_silent_worker_is_named(cli: Cli, server: Server) -> None:
    with PretendWorker(server.url, cli.namespace, is_seen=False) as silent:
        job_id = cli("enqueue", "true").line
        silent.claim(job_id)
        running = cli.start("wait", job_id)

        running.until("its worker pretender is not responding")

        running.signal(signal.SIGINT)
        assert running.done().code == 130
