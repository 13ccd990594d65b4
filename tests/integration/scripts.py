"""A command that does not want to end."""

from __future__ import annotations

from tests.support.deployment import Deployment
from tests.support.markers import ProcessMarker


def stubborn(deployment: Deployment, marker: ProcessMarker) -> str:
    """A script that testifies to each SIGTERM, says when it is ready to, and does not end."""
    asked = deployment.witness.says("asked")
    return f"asked() {{ {asked}; }}; trap asked TERM; echo ready; while :; do {marker.sleep}; done"
