"""Fixtures for tests of the command line.

============== ======================================================================================================
cli            A user of the shared server, with no jobs and no workers.
served         The same, with a worker of four slots on the queue ``default``, shared by many tests.
local_cli      A user without a URL: verbs start a local broker, which is stopped after the test.
pretender      A fake worker on the queue ``default`` of ``cli``; see ``pretend_worker``.
============== ======================================================================================================
"""

from __future__ import annotations

import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.cli.pretend_worker import PretendWorker
from tests.support.command_line import Cli
from tests.support.servers import Server, ServerKind, ServerProcess
from tests.support.worker_process import WorkerProcess


@pytest.fixture
def cli(server: Server, namespace: str, tmp_path: Path) -> Iterator[Cli]:
    user = Cli(server.url, namespace, tmp_path / "state")
    yield user
    user.close()


@pytest.fixture(scope="session")
def _shared_worker(
    server_kind: ServerKind, _shared_servers: Callable[[ServerKind], ServerProcess]
) -> Iterator[tuple[str, WorkerProcess]]:
    namespace = f"cli-{uuid.uuid4().hex[:12]}"
    environment = {"ONESHOT_QUEUE_NAMESPACE": namespace}
    worker = WorkerProcess(_shared_servers(server_kind).url, ["default"], environment=environment)
    worker.start()
    yield namespace, worker
    worker.close()


@pytest.fixture
def served(_shared_worker: tuple[str, WorkerProcess], server: Server, tmp_path: Path) -> Iterator[Cli]:
    namespace, worker = _shared_worker
    user = Cli(server.url, namespace, tmp_path / "state")
    yield user
    user.close()
    worker.assert_not_lost()


@pytest.fixture
def local_cli(namespace: str) -> Iterator[Cli]:
    # A short path: it holds the broker's socket.
    state = Path(tempfile.mkdtemp(prefix="oq-cli-"))
    user = Cli(None, namespace, state)
    yield user
    user.close()
    user("broker", "stop")
    shutil.rmtree(state)


@pytest.fixture
def pretender(cli: Cli, server: Server) -> Iterator[PretendWorker]:
    with PretendWorker(server.url, cli.namespace) as worker:
        yield worker
