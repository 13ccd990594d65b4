"""Fixtures for supervisors: a queue for each test, and processes that can be found again."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from oneshot_queue.workers.processes import cgroup
from tests.support.deployment import Deployment
from tests.support.markers import ProcessMarker
from tests.support.servers import Server
from tests.support.worker_process import PROGRAM

GROUPLESS = (sys.executable, "-P", str(Path(__file__).with_name("groupless_worker.py")))


@pytest.fixture
def deployment(server: Server, namespace: str, queue_name: str, tmp_path: Path) -> Iterator[Deployment]:
    made = Deployment(server.url, namespace, queue_name, tmp_path)
    yield made
    made.close()


@pytest.fixture(params=["cgroup", "subreaper"])
def layer(request: pytest.FixtureRequest) -> str:
    """The mechanism that ends the processes of a killed worker: each one that this machine supports."""
    if request.param == "cgroup":
        require_groups()
    return str(request.param)


@pytest.fixture
def program(layer: str) -> tuple[str, ...]:
    """The program of a worker that uses this mechanism."""
    return PROGRAM if layer == "cgroup" else GROUPLESS


@pytest.fixture
def marker() -> ProcessMarker:
    return ProcessMarker()


@pytest.fixture
def other_marker() -> ProcessMarker:
    return ProcessMarker()


def require_groups() -> None:
    group = cgroup.make("0" * 32)
    if group is None:
        pytest.skip(f"no control group (cgroup v2) with cgroup.kill can be made below {cgroup.own_group()}")
    cgroup.remove(group)
