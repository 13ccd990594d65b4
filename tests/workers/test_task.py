"""How a task uses the clock and its state machine, tested without a process."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any
from unittest.mock import AsyncMock, Mock

import pytest

from oneshot_queue.spec import JobSpec
from oneshot_queue.states import JobState
from oneshot_queue.task_events import (
    ActivityDetected,
    Event,
    InterruptStarted,
    OutputReceived,
    OutputStream,
    SilenceDetected,
)
from oneshot_queue.workers.engine.heartbeat import check_interval_s
from oneshot_queue.workers.engine.runtime import Runtime
from oneshot_queue.workers.task import OneshotTask


class FixedClock:
    now = 5_000.0

    def monotonic(self) -> float:
        return self.now

    def boottime(self) -> float:
        return self.monotonic()

    def now_ms(self) -> int:
        return 0


class ARunningTask:
    """A running task whose process is replaced by mocks."""

    def __init__(self, **limits: Any) -> None:
        self.events: list[Event] = []
        self.clock = FixedClock()
        self.termination = Mock(has_exited=Mock(return_value=False))
        runtime = Runtime(clock=self.clock, observers=(self.events.append,))
        self.task = OneshotTask("t", JobSpec(["true"], **limits), runtime=runtime)
        self.task._process = Mock(pid=1)
        self.task._termination = self.termination
        self.task._started_at = self.task._last_output_at = self.clock.now
        self.task.machine.start()

    async def after(self, seconds: float) -> JobState:
        self.clock.now += seconds
        await self.task._monitor_health()
        return self.task.state

    async def writes(self, data: bytes) -> None:
        pipe = Mock(kind=OutputStream.STDOUT, read_chunk=AsyncMock(side_effect=[data, b""]))
        await self.task._read_stream(pipe)


@pytest.mark.parametrize("method", [OneshotTask._read_stream, OneshotTask._monitor_health])
def test_stream_reader_and_health_monitor_are_coroutine_functions(method: Callable[..., object]) -> None:
    assert inspect.iscoroutinefunction(method)


async def test_silence_is_reported_once() -> None:
    running = ARunningTask(idle_after=60)

    assert await running.after(59.9) is JobState.RUNNING
    assert await running.after(0.2) is JobState.IDLE
    assert await running.after(100) is JobState.IDLE
    (event,) = running.events
    assert isinstance(event, SilenceDetected)
    assert event.silent_s == pytest.approx(60.1)


async def test_output_ends_silence_and_restarts_the_count() -> None:
    running = ARunningTask(idle_after=60)
    await running.after(60)

    await running.writes(b"hi")

    assert running.task.state is JobState.RUNNING
    assert running.events[1:] == [ActivityDetected("t"), OutputReceived("t", OutputStream.STDOUT, 0, b"hi")]
    assert await running.after(59) is JobState.RUNNING
    assert await running.after(1) is JobState.IDLE


async def test_task_without_a_threshold_is_never_idle() -> None:
    running = ARunningTask(idle_after=0)

    assert await running.after(1_000_000) is JobState.RUNNING


@pytest.mark.parametrize("limit", ["time_limit", "idle_timeout"])
async def test_limit_begins_the_termination_once_and_keeps_the_state_until_the_end(limit: str) -> None:
    running = ARunningTask(idle_after=0, grace=7, **{limit: 30})

    assert await running.after(29) is JobState.RUNNING
    running.termination.begin.assert_not_called()
    assert await running.after(1) is JobState.RUNNING
    await running.after(100)

    running.termination.begin.assert_called_once_with(7)
    assert running.events == [InterruptStarted("t", limit, None)]


async def test_output_postpones_the_idle_timeout_but_not_the_time_limit() -> None:
    running = ARunningTask(idle_after=0, idle_timeout=30, time_limit=100)

    for _ in range(3):
        await running.after(25)
        await running.writes(b".")
        running.termination.begin.assert_not_called()
    await running.after(25)

    assert running.events[-1] == InterruptStarted("t", "time_limit", None)


async def test_entry_into_interrupted_begins_the_termination() -> None:
    running = ARunningTask(grace=3)

    running.task.machine.interrupt()

    running.termination.begin.assert_called_once_with(3)
    assert running.events == [InterruptStarted("t", "interrupted", None)]


async def test_interrupt_passes_on_grace_and_reason() -> None:
    running = ARunningTask(grace=3)

    assert running.task.interrupt(grace=1, reason="enough")

    running.termination.begin.assert_called_once_with(1)
    assert running.events == [InterruptStarted("t", "interrupted", "enough")]


async def test_limits_are_not_checked_after_the_exit() -> None:
    running = ARunningTask(idle_after=1, time_limit=1)
    running.termination.has_exited.return_value = True

    assert await running.after(10) is JobState.RUNNING
    assert running.events == []


@pytest.mark.parametrize(
    ("limits", "expected_s"),
    [
        ({}, 15.0),
        ({"idle_after": 0}, float("inf")),
        ({"time_limit": 8}, 2.0),
        ({"idle_timeout": 4}, 1.0),
        ({"idle_after": 0.001}, 0.01),
    ],
)
def test_check_interval_is_a_quarter_of_the_shortest_limit(limits: dict[str, Any], expected_s: float) -> None:
    assert check_interval_s(JobSpec(["true"], **limits)) == expected_s
