"""The machine is the only source of what a job may do; the table is the machine, pair by pair."""

from __future__ import annotations

from itertools import product
from unittest.mock import Mock

import pytest
from statemachine.exceptions import TransitionNotAllowed

from oneshot_queue.states import EVENTS, FINAL_STATES, TRANSITIONS, JobState, OneshotStateMachine

PATHS = {
    JobState.CREATED: (),
    JobState.RUNNING: ("start",),
    JobState.IDLE: ("start", "detect_silence"),
    JobState.INTERRUPTED: ("interrupt",),
    JobState.COMPLETED: ("start", "finish"),
    JobState.FAILED: ("fail",),
}
PAIRS = list(product(JobState, EVENTS))


def a_machine_in(state: JobState) -> OneshotStateMachine:
    machine = OneshotStateMachine()
    for event in PATHS[state]:
        getattr(machine, event)()
    assert machine.state is state
    return machine


def test_there_are_six_states_and_six_events() -> None:
    assert set(EVENTS) == {"start", "detect_silence", "detect_activity", "interrupt", "finish", "fail"}
    assert len(PAIRS) == 36


@pytest.mark.parametrize(("state", "event"), PAIRS, ids=str)
def test_machine_and_table_agree(state: JobState, event: str) -> None:
    machine = a_machine_in(state)

    if (state, event) in TRANSITIONS:
        getattr(machine, event)()
        assert machine.state is TRANSITIONS[state, event]
    else:
        with pytest.raises(TransitionNotAllowed):
            getattr(machine, event)()
        assert machine.state is state


def test_the_table_is_the_one_that_was_designed() -> None:
    s = JobState
    assert dict(TRANSITIONS) == {
        (s.CREATED, "start"): s.RUNNING,
        (s.RUNNING, "detect_silence"): s.IDLE,
        (s.IDLE, "detect_activity"): s.RUNNING,
        (s.CREATED, "interrupt"): s.INTERRUPTED,
        (s.RUNNING, "interrupt"): s.INTERRUPTED,
        (s.IDLE, "interrupt"): s.INTERRUPTED,
        (s.RUNNING, "finish"): s.COMPLETED,
        (s.IDLE, "finish"): s.COMPLETED,
        (s.CREATED, "fail"): s.FAILED,
        (s.RUNNING, "fail"): s.FAILED,
        (s.IDLE, "fail"): s.FAILED,
    }


def test_nothing_leads_out_of_a_final_state() -> None:
    assert {state for state in JobState if state.is_final} == FINAL_STATES
    assert {JobState.INTERRUPTED, JobState.COMPLETED, JobState.FAILED} == FINAL_STATES
    assert not any(state in FINAL_STATES for state, _ in TRANSITIONS)


@pytest.mark.parametrize("path", [(), ("start",), ("start", "detect_silence")], ids=["CREATED", "RUNNING", "IDLE"])
def test_entering_interrupted_terminates_the_process_of_its_task(path: tuple[str, ...]) -> None:
    task = Mock()
    machine = OneshotStateMachine(task)
    for event in path:
        getattr(machine, event)()

    machine.interrupt()

    task.terminate.assert_called_once_with()


@pytest.mark.parametrize("event", ["finish", "fail"])
def test_entering_another_final_state_terminates_nothing(event: str) -> None:
    task = Mock()
    machine = OneshotStateMachine(task)
    machine.start()

    getattr(machine, event)()

    task.terminate.assert_not_called()


def test_a_second_interrupt_is_refused_and_terminates_nothing_again() -> None:
    task = Mock()
    machine = OneshotStateMachine(task)
    machine.interrupt()

    with pytest.raises(TransitionNotAllowed):
        machine.interrupt()

    task.terminate.assert_called_once_with()


@pytest.mark.parametrize("final", ["finish", "fail", "interrupt"])
def test_a_machine_that_ended_can_begin_anew_for_another_task(final: str) -> None:
    class Task:
        terminated = 0

        def terminate(self) -> None:
            self.terminated += 1

    first, second = Task(), Task()
    machine = OneshotStateMachine(first)
    machine.start()
    machine.send(final)
    before = first.terminated

    machine.begin_anew(second)

    assert machine.state is JobState.CREATED
    machine.start()
    machine.detect_silence()
    machine.interrupt()
    assert (machine.state, first.terminated, second.terminated) == (JobState.INTERRUPTED, before, 1)
    with pytest.raises(TransitionNotAllowed):
        machine.finish()
