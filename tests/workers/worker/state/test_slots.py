"""How many more jobs a worker may take, by the engine's slots and the journal's room."""

from __future__ import annotations

from unittest.mock import AsyncMock, Mock

import anyio
import pytest
from anyio.lowlevel import checkpoint

from oneshot_queue.clock import SystemClock
from oneshot_queue.workers.worker.state import slots as slots_module
from oneshot_queue.workers.worker.state.slots import RUSH_JOBS, Slots
from tests.support.limits import limit_s


class AClock(SystemClock):
    now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.mark.parametrize(
    ("free", "slots", "gap_s", "is_rush"),
    [
        (3, 16, 0.001, True),
        (4, 16, 0.001, False),
        (3, 16, 0.003, False),
        (0, 4, 0.001, True),
        (1, 4, 0.001, False),
        (1, 8, 0.001, True),
    ],
)
def test_it_is_a_rush_when_nearly_all_slots_are_taken_and_many_jobs_were_just_taken(
    free: int, slots: int, gap_s: float, is_rush: bool
) -> None:
    clock = AClock()
    place = Slots(Mock(free_slots=free, max_concurrent=slots), clock, Mock())

    for taken in range(RUSH_JOBS):
        assert place.is_rush is False, f"{taken} were taken"
        place.take()
        clock.now += gap_s

    assert place.is_rush is is_rush


async def test_a_full_journal_is_logged_once(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slots_module, "LOOK_AGAIN_S", 0.0)
    engine, journal = Mock(free_slots=4, max_concurrent=4, wait_for_slot=AsyncMock()), Mock(free_slots=4)
    slots = Slots(engine, SystemClock(), journal)

    with anyio.fail_after(limit_s(5)):
        for _ in range(2):
            async with anyio.create_task_group() as group:
                group.start_soon(slots.wait_for_slot)
                while not caplog.messages or engine.wait_for_slot.await_count < 3:
                    await checkpoint()
                journal.free_slots = 5
            assert len(caplog.messages) == 1
            caplog.clear()
            engine.wait_for_slot.reset_mock()
            journal.free_slots = 4
