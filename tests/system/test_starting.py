"""A worker that is asked to stop before it has properly begun."""

from __future__ import annotations

import signal
import time

from tests.support.cases import case
from tests.support.deployment import Deployment, assert_gone_without_a_trace


@case("P14")
def test_a_worker_asked_while_it_starts_leaves_no_trace(deployment: Deployment) -> None:
    began = time.monotonic()
    deployment.start_worker().stop()
    whole_s = time.monotonic() - began
    codes = []
    for part in (0.4, 0.6, 0.8, 1.0):
        worker = deployment.start_worker(until_ready=False)
        time.sleep(whole_s * part)  # not to wait for anything: it aims at a moment between birth and first claim
        worker.signal()
        codes.append(worker.wait())

        assert_gone_without_a_trace(deployment, worker)

    assert set(codes) <= {0, -signal.SIGTERM}, "either it had not begun, or it ended well"
