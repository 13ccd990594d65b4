"""Shell scripts that several tests run."""

from __future__ import annotations

from tests.support.deployment import Deployment
from tests.support.markers import ProcessMarker


def ignores_sigterm(deployment: Deployment, marker: ProcessMarker) -> str:
    """A script that prints ``ready``, then reports each SIGTERM as ``asked`` and does not end."""
    asked = deployment.witness.report("asked")
    return f"asked() {{ {asked}; }}; trap asked TERM; echo ready; while :; do {marker.sleep}; done"
