"""Every service pauses, runs one pass, and survives failures, which are logged once in a row."""

from __future__ import annotations

import logging
from unittest.mock import Mock

import anyio
import pytest

from oneshot_queue.errors import BrokerRefused, BrokerUnreachable
from oneshot_queue.workers.worker import repeating
from oneshot_queue.workers.worker.repeating import repeat
from tests.support.waiting import eventually

REFUSED = BrokerRefused("redis://", "it says no", "ask why")


class Passes:
    """Counts passes. Each given error makes one pass fail; later passes succeed."""

    def __init__(self, *failures: Exception | None) -> None:
        self.failures = list(failures)
        self.count = 0

    async def run_once(self) -> int:
        self.count += 1
        failure = self.failures.pop(0) if self.failures else None
        if failure is not None:
            raise failure
        return 0


async def run(passes: Passes, count: int, *, retry_s: float = 0.0) -> None:
    async with anyio.create_task_group() as group:

        async def forever() -> None:
            await repeat(passes.run_once, 0.0, "do it", retry_s=retry_s)

        group.start_soon(forever)
        await eventually(lambda: passes.count, lambda seen: seen >= count, what=f"{count} passes")
        group.cancel_scope.cancel()


async def test_failures_in_a_row_are_logged_once_and_again_after_a_success(caplog: pytest.LogCaptureFixture) -> None:
    passes = Passes(REFUSED, REFUSED, REFUSED, None, REFUSED)

    with caplog.at_level(logging.INFO):
        await run(passes, 7)

    assert [record.getMessage() for record in caplog.records] == [f"cannot do it: {REFUSED}"] * 2


async def test_an_outage_is_left_to_the_outage_log(caplog: pytest.LogCaptureFixture) -> None:
    passes = Passes(BrokerUnreachable("redis://", "it is away"))

    with caplog.at_level(logging.INFO):
        await run(passes, 3)

    assert caplog.records == []


async def test_it_waits_longer_after_every_failure_up_to_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        if seconds:
            waits.append(seconds)
        await anyio.lowlevel.checkpoint()

    monkeypatch.setattr(repeating, "anyio", Mock(sleep=sleep))
    monkeypatch.setattr(repeating, "random", Mock(uniform=Mock(return_value=1.0)))
    passes = Passes(*[REFUSED] * 7)

    await run(passes, 8, retry_s=0.1)

    assert waits == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.6, 2.0, 2.0])


async def test_the_first_pass_comes_after_the_first_pause() -> None:
    passes, gate = Passes(), anyio.Event()

    async with anyio.create_task_group() as group:
        group.start_soon(repeat, passes.run_once, gate.wait, "do it")
        await anyio.wait_all_tasks_blocked()
        assert passes.count == 0
        group.cancel_scope.cancel()


async def test_an_error_that_is_not_expected_ends_the_service() -> None:
    with pytest.raises(ZeroDivisionError):
        await repeat(Passes(ZeroDivisionError()).run_once, 0.0, "do it")
