"""Fixtures of the faults: those of ``tests/integration``, and a wire between the workers and their server."""

from __future__ import annotations

import os
import random
import secrets
from collections.abc import Iterator

import pytest

from tests.faults.ends import EndsWatcher
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
    """Between the workers and a server of the test's own; ends after the workers."""
    with Wire(fresh_server.socket_path) as running:
        yield running
        own_deployment.close()


@pytest.fixture
def ends(own_deployment: Deployment) -> Iterator[EndsWatcher]:
    """Sees whether an end of the test's own server changes."""
    with EndsWatcher(own_deployment) as watching:
        yield watching


@pytest.fixture
def dice() -> random.Random:
    """Chance whose seed is shown when the test fails; SEED in the environment fixes it."""
    seed = int(os.environ.get("SEED") or secrets.randbelow(2**32))
    print(f"seed {seed}")  # noqa: T201 - shown with a failure
    return random.Random(seed)
