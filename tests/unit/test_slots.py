"""How many jobs there is room for, by the orchestrator and by what can be noted."""

from __future__ import annotations

from unittest.mock import AsyncMock, Mock

import anyio
import pytest
from anyio.lowlevel import checkpoint

from oneshot_queue.clock import SystemClock
from workers import slots as slots_module
from workers.slots import Slots


@pytest.mark.parametrize(
    ("free", "slots", "are_scarce"),
    [(0, 1, True), (1, 1, False), (1, 4, False), (0, 4, True), (1, 8, True), (2, 8, False), (3, 16, True)],
)
def test_they_are_scarce_while_less_than_a_quarter_is_free(free: int, slots: int, are_scarce: bool) -> None:
    orchestrator = Mock(free_slots=free, max_concurrent=slots)

    assert Slots(orchestrator, SystemClock(), Mock()).are_scarce is are_scarce


async def test_it_is_said_once_that_no_start_could_be_noted(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slots_module, "LOOK_AGAIN_S", 0.0)
    orchestrator, notes = Mock(free_slots=4, max_concurrent=4, wait_for_slot=AsyncMock()), Mock(free_slots=4)
    slots = Slots(orchestrator, SystemClock(), notes)

    with anyio.fail_after(5):
        for _ in range(2):
            async with anyio.create_task_group() as group:
                group.start_soon(slots.wait_for_slot)
                while not caplog.messages or orchestrator.wait_for_slot.await_count < 3:
                    await checkpoint()
                notes.free_slots = 5
            assert len(caplog.messages) == 1
            caplog.clear()
            orchestrator.wait_for_slot.reset_mock()
            notes.free_slots = 4
