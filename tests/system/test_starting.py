"""A worker that is asked to stop while it starts."""

from __future__ import annotations

import signal
import time

import pytest

from tests.support.cases import case
from tests.support.deployment import Deployment, assert_left_no_trace


@pytest.mark.thorough
@case("P14")
def test_worker_asked_to_stop_while_it_starts_leaves_no_trace(deployment: Deployment) -> None:
    began = time.monotonic()
    deployment.start_worker().stop()
    whole_s = time.monotonic() - began
    codes = []
    for part in (0.4, 0.6, 0.8, 1.0):
        worker = deployment.start_worker(until_ready=False)
        time.sleep(whole_s * part)  # no wait for an event: it aims at a moment between the fork and the first claim
        worker.signal()
        codes.append(worker.wait())

        assert_left_no_trace(deployment, worker)

    assert set(codes) <= {0, -signal.SIGTERM}, (
        "it must either exit cleanly, or die of SIGTERM before it handles signals"
    )
