"""Fixtures for tests of the whole system."""

from __future__ import annotations

from tests.support.deployment_fixtures import deployment, marker, own_deployment, real_deployment

__all__ = ["deployment", "marker", "own_deployment", "real_deployment"]
