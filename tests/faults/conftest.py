"""Fixtures of the fault tests: deployments, a wire to their server, a watcher of results, and random numbers."""

from __future__ import annotations

import os
import random
import secrets
from collections.abc import Iterator

import pytest

from tests.faults.result_watcher import ResultWatcher
from tests.support.deployment import Deployment
from tests.support.deployment_fixtures import (
    _shared_worker,
    deployment,
    marker,
    own_deployment,
    real_deployment,
    served,
)
from tests.support.servers import ServerProcess
from tests.support.wire import Wire

__all__ = ["_shared_worker", "deployment", "marker", "own_deployment", "real_deployment", "served"]


@pytest.fixture
def wire(own_deployment: Deployment, fresh_server: ServerProcess) -> Iterator[Wire]:
    """A wire between the workers and a private server; it ends after the workers."""
    with Wire(fresh_server.socket_path) as running:
        yield running
        own_deployment.close()


@pytest.fixture
def watcher(own_deployment: Deployment) -> Iterator[ResultWatcher]:
    """Watches whether a result on the private server changes."""
    with ResultWatcher(own_deployment) as watching:
        yield watching


@pytest.fixture
def rng() -> random.Random:
    """Random numbers whose seed is printed when the test fails; the variable SEED sets it."""
    seed = int(os.environ.get("SEED") or secrets.randbelow(2**32))
    print(f"seed {seed}")  # noqa: T201 - printed with a failure
    return random.Random(seed)
