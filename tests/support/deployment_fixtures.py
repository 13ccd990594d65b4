"""Fixtures for tests that run workers as real processes.

================= ====================================================================================================
deployment        A private queue on the shared server; workers that the test starts end with it.
own_deployment    The same on a private server (``fresh_server``).
real_deployment   The same on a private real server, for faults that fakeredis cannot have.
served            A deployment whose worker is shared by many tests: eight slots, its own queue.
marker            Finds the processes of the test's commands again.
================= ====================================================================================================
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.deployment import Deployment
from tests.support.markers import ProcessMarker
from tests.support.servers import Server, ServerKind, ServerProcess
from tests.support.worker_process import WorkerProcess

SECRETS = {"REDIS_URL": "redis://:canary@nowhere", "REDIS_PASSWORD": "canary", "AWS_SECRET_ACCESS_KEY": "canary"}


@pytest.fixture
def deployment(server: Server, namespace: str, queue_name: str, tmp_path: Path) -> Iterator[Deployment]:
    made = Deployment(server.url, namespace, queue_name, tmp_path)
    yield made
    made.close()


@pytest.fixture
def own_deployment(
    fresh_server: ServerProcess, namespace: str, queue_name: str, tmp_path: Path
) -> Iterator[Deployment]:
    made = Deployment(fresh_server.url, namespace, queue_name, tmp_path)
    yield made
    made.close()


@pytest.fixture
def real_deployment(own_deployment: Deployment, fresh_server: ServerProcess) -> Deployment:
    if not fresh_server.is_real:
        pytest.skip("fakeredis has no persistence and no memory limit")
    return own_deployment


@pytest.fixture(scope="session")
def _shared_worker(
    server_kind: ServerKind,
    _shared_servers: Callable[[ServerKind], ServerProcess],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[Deployment, WorkerProcess]]:
    unique = uuid.uuid4().hex[:12]
    folder = tmp_path_factory.mktemp("shared-worker")
    made = Deployment(_shared_servers(server_kind).url, f"shared-{unique}", f"shared-{unique}", folder)
    worker = made.start_worker(concurrency=8, environment=SECRETS)
    yield made, worker
    made.close()


@pytest.fixture
def served(_shared_worker: tuple[Deployment, WorkerProcess], server: Server, tmp_path: Path) -> Iterator[Deployment]:
    shared, worker = _shared_worker
    made = Deployment(server.url, shared.settings.namespace, shared.queue_name, tmp_path)
    yield made
    made.close()
    worker.assert_not_lost()


@pytest.fixture
def marker() -> ProcessMarker:
    return ProcessMarker()
