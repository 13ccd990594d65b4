"""Fixtures of the tests of real processes."""

from __future__ import annotations

import pytest

from tests.support.markers import ProcessMarker
from tests.workers.recorder import ManualClock, Recorder


@pytest.fixture
async def recorder() -> Recorder:
    return Recorder()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def marker() -> ProcessMarker:
    return ProcessMarker()
