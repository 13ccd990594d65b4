"""The fixtures of the integration tests, for the whole."""

from __future__ import annotations

from tests.support.deployment_fixtures import deployment, mark, own_deployment, real_deployment

__all__ = ["deployment", "mark", "own_deployment", "real_deployment"]
