"""What a task does by the clock and by its machine, its process replaced."""

from __future__ import annotations

from typing import Any
from unittest.mock import Mock

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
from oneshot_queue.workers.engine.heartbeat import pace_s
from oneshot_queue.workers.engine.runtime import Runtime
from oneshot_queue.workers.task import OneshotTask


class AClock:
    now = 5_000.0

    def monotonic(self) -> float:
        return self.now

    def boottime(self) -> float:
        return self.monotonic()

    def now_ms(self) -> int:
        return 0


class ARunningTask:
    """A task that believes in a process it does not have."""

    def __init__(self, **limits: Any) -> None:
        self.events: list[Event] = []
        self.clock = AClock()
        self.termination = Mock(has_exited=Mock(return_value=False))
        runtime = Runtime(clock=self.clock, observers=(self.events.append,))
        self.task = OneshotTask("t", JobSpec(["true"], **limits), runtime=runtime)
        self.task._process = Mock(pid=1)
        self.task._termination = self.termination
        self.task._pipes = Mock()
        self.task._started_at = self.task._last_output_at = self.clock.now
        self.task.machine.start()

    def after(self, seconds: float) -> JobState:
        self.clock.now += seconds
        self.task._monitor_health()
        return self.task.state

    def writes(self, data: bytes) -> None:
        self.task._pipes.read.return_value = data  # type: ignore[union-attr]
        self.task._read_stream(OutputStream.STDOUT)


async def test_silence_is_seen_by_the_clock_once() -> None:
    running = ARunningTask(idle_after=60)

    assert running.after(59.9) is JobState.RUNNING
    assert running.after(0.2) is JobState.IDLE
    assert running.after(100) is JobState.IDLE
    (event,) = running.events
    assert isinstance(event, SilenceDetected)
    assert event.silent_s == pytest.approx(60.1)


async def test_output_ends_silence_at_once_and_starts_the_count_again() -> None:
    running = ARunningTask(idle_after=60)
    running.after(60)

    running.writes(b"hi")

    assert running.task.state is JobState.RUNNING
    assert running.events[1:] == [ActivityDetected("t"), OutputReceived("t", OutputStream.STDOUT, 0, b"hi")]
    assert running.after(59) is JobState.RUNNING
    assert running.after(1) is JobState.IDLE


async def test_without_a_threshold_nothing_is_idle() -> None:
    running = ARunningTask(idle_after=0)

    assert running.after(1_000_000) is JobState.RUNNING


@pytest.mark.parametrize("limit", ["time_limit", "idle_timeout"])
async def test_a_limit_begins_the_termination_once_and_leaves_the_state_to_the_end(limit: str) -> None:
    running = ARunningTask(idle_after=0, grace=7, **{limit: 30})

    assert running.after(29) is JobState.RUNNING
    running.termination.begin.assert_not_called()
    assert running.after(1) is JobState.RUNNING
    running.after(100)

    running.termination.begin.assert_called_once_with(7)
    assert running.events == [InterruptStarted("t", limit, None)]


async def test_output_puts_off_the_idle_timeout_but_not_the_time_limit() -> None:
    running = ARunningTask(idle_after=0, idle_timeout=30, time_limit=100)

    for _ in range(3):
        running.after(25)
        running.writes(b".")
        running.termination.begin.assert_not_called()
    running.after(25)

    assert running.events[-1] == InterruptStarted("t", "time_limit", None)


async def test_entering_interrupted_begins_the_termination() -> None:
    running = ARunningTask(grace=3)

    running.task.machine.interrupt()

    running.termination.begin.assert_called_once_with(3)
    assert running.events == [InterruptStarted("t", "interrupted", None)]


async def test_interrupt_carries_grace_and_reason() -> None:
    running = ARunningTask(grace=3)

    assert running.task.interrupt(grace=1, reason="enough")

    running.termination.begin.assert_called_once_with(1)
    assert running.events == [InterruptStarted("t", "interrupted", "enough")]


async def test_nothing_is_judged_once_the_process_has_exited() -> None:
    running = ARunningTask(idle_after=1, time_limit=1)
    running.termination.has_exited.return_value = True

    assert running.after(10) is JobState.RUNNING
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
def test_the_pace_is_a_quarter_of_the_shortest_limit(limits: dict[str, Any], expected_s: float) -> None:
    assert pace_s(JobSpec(["true"], **limits)) == expected_s
