"""The state machine, its table and the scripts agree on all 36 (state, event) pairs."""

from __future__ import annotations

import pytest
from statemachine.exceptions import TransitionNotAllowed

from oneshot_queue.states import EVENTS, TRANSITIONS, JobState, OneshotStateMachine
from oneshot_queue.store.attempts import Recorded
from oneshot_queue.store.claims import Claimed
from oneshot_queue.store.steering import Ended
from tests.support.builders import Held, Store, an_outcome
from tests.support.cases import case

FINISHING = {"finish": JobState.COMPLETED, "fail": JobState.FAILED, "interrupt": JobState.INTERRUPTED}
PAIRS = [(state, event) for state in JobState for event in EVENTS]


def expected_by_machine(state: JobState, event: str) -> JobState | None:
    machine = OneshotStateMachine(start_value=state.value)
    try:
        machine.send(event)
    except TransitionNotAllowed:
        return None
    return machine.state


async def happens_in_scripts(store: Store, held: Held, event: str, lease: str) -> bool:
    """Try one event with the script that carries it; returns whether the script reports that it happened."""
    waits = await store.state_of(held.id) == "CREATED"
    match event:
        case "start":
            answer = await store.claim_one(held.id, lease)
            return isinstance(answer, Claimed) and len(answer.claims) == 1
        case "detect_silence" | "detect_activity":
            return isinstance(await store.record(held, event), Recorded)
        case "interrupt" if waits:
            return isinstance(await store.interrupt(held.id), Ended)
        case _:
            # A repeated result is acknowledged, not carried out; the reply then names no state.
            outcome = an_outcome(FINISHING[event])
            answered = await store.finish(held, outcome)
            return isinstance(answered, Recorded) and answered.state is outcome.state


def test_there_are_36_pairs() -> None:
    assert len(PAIRS) == 36


@case("V10")
@pytest.mark.parametrize(("state", "event"), PAIRS)
async def test_state_machine_table_and_scripts_agree(store: Store, state: JobState, event: str) -> None:
    target = TRANSITIONS.get((state, event))
    held = await store.in_state(state)
    lease = await store.lease()
    assert await store.state_of(held.id) == state
    before = await store.dump()

    happened = await happens_in_scripts(store, held, event, lease)

    assert expected_by_machine(state, event) == target
    assert happened == (target is not None)
    if target is None:
        assert await store.dump() == before
    else:
        assert await store.state_of(held.id) == target


@pytest.mark.parametrize("state", [state for state in JobState if state.is_final])
async def test_interrupt_of_a_finished_job_changes_nothing(store: Store, state: JobState) -> None:
    held = await store.in_state(state)
    before = await store.dump()

    await store.interrupt(held.id)

    assert await store.dump() == before
