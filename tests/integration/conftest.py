"""Fixtures for tests with real workers."""

from __future__ import annotations

from tests.support.deployment_fixtures import (
    _shared_worker,
    deployment,
    marker,
    own_deployment,
    real_deployment,
    served,
)

__all__ = ["_shared_worker", "deployment", "marker", "own_deployment", "real_deployment", "served"]
