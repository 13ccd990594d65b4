"""The soak itself."""

from __future__ import annotations

import pytest

from tests.faults import soak
from tests.faults.invariants import assert_invariants

GENTLE = [name for name in soak.FAULTS if not name.startswith("kill_") or name in {"kill_clients", "kill_subscribers"}]


@pytest.mark.thorough
def test_short_soak_without_kills_violates_no_invariant(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(soak, "LEAST_JOBS", 150)

    verdict, done = soak.run(8.0, 1, GENTLE)

    assert_invariants(verdict)
    assert len(done.accepted) >= 150
    assert done.fired.total() >= soak.LEAST_FAULTS
    assert {each.name for each in verdict.findings if each.checked} >= {"I1", "I2", "I3", "I4", "I7", "I8", "I10"}
