"""The checks find every violation of an invariant, and only violations."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from oneshot_queue import JobRecord, JobSpec, JobState
from oneshot_queue.client.verbs.logs import OutputChunk
from oneshot_queue.jobs import HistoryRow, OutputTotals
from oneshot_queue.task_events import OutputStream
from tests.faults.evidence import Evidence, Footprint
from tests.faults.invariants import CHECKS, assert_invariants, judge
from tests.support import witness

CREATED, RUNNING, IDLE, COMPLETED, FAILED, INTERRUPTED = (
    JobState.CREATED,
    JobState.RUNNING,
    JobState.IDLE,
    JobState.COMPLETED,
    JobState.FAILED,
    JobState.INTERRUPTED,
)


def rows(*states: JobState, attempt: int = 1) -> tuple[HistoryRow, ...]:
    again = {0: "retry"} if attempt > 1 else {}
    return tuple(
        HistoryRow(state, 1000 * attempt + number, attempt, again.get(number), None)
        for number, state in enumerate(states)
    )


GIVEN_BACK = HistoryRow(JobState.CREATED, 1001, 1, "unstarted", None)


def a_record(*states: JobState, **changed: Any) -> JobRecord:
    path = states or (CREATED, RUNNING, COMPLETED)
    record = JobRecord(
        id="a",
        queue="q",
        state=path[-1],
        attempt=1,
        created_ms=1000,
        changed_ms=1002,
        spec=JobSpec(["true"]),
        output=OutputTotals(5, 0),
        history=rows(*path),
    )
    return replace(record, **changed)


def a_chunk(data: bytes, missing: int = 0, attempt: int = 1) -> OutputChunk:
    return OutputChunk(OutputStream.STDOUT, data, at_ms=1001, cursor="1", missing=missing, attempt=attempt)


def an_event(event: str, *, attempt: int = 1, token: str = "100") -> witness.WitnessEvent:
    return witness.WitnessEvent("a", attempt, token, 4000 + attempt, event)


def sound_evidence() -> dict[str, Any]:
    """The evidence of a job without any violation."""
    return {
        "acknowledged": ["a"],
        "interrupted": ["a"],
        "records": {"a": a_record()},
        "tokens": {"a": "100"},
        "events": [an_event("start"), an_event("end")],
        "witnessed": ["a"],
        "watched_results": 1,
        "expected": {"a": b"hello"},
        "stored": {"a": [a_chunk(b"hello")]},
        "grown": {"worker": (Footprint(10, 4, 1, 0), Footprint(10, 4, 1, 0))},
        "secrets": {"password": "canary"},
        "texts": {"log": "worker ready"},
    }


RETRIED = rows(CREATED, RUNNING, FAILED) + rows(CREATED, RUNNING, COMPLETED, attempt=2)

VIOLATIONS: list[tuple[str, dict[str, Any]]] = [
    ("I1", {"records": {}, "unreadable": {"a": "no such job"}}),
    ("I1", {"records": {"a": a_record(CREATED, RUNNING)}}),
    ("I2", {"changed_results": ["a ended as COMPLETED and is now FAILED"]}),
    ("I2h", {"records": {"a": a_record(CREATED, RUNNING, COMPLETED, COMPLETED)}}),
    ("I2h", {"records": {"a": a_record(CREATED, RUNNING, COMPLETED, state=FAILED)}}),
    ("I3", {"records": {"a": a_record(RUNNING, COMPLETED)}}),
    ("I3", {"records": {"a": a_record(CREATED, COMPLETED)}}),
    ("I3", {"records": {"a": a_record(CREATED, RUNNING, RUNNING, COMPLETED)}}),
    ("I3", {"records": {"a": a_record(history=())}}),
    ("I3", {"records": {"a": a_record(history=(*rows(CREATED, RUNNING), HistoryRow(COMPLETED, 1, 1, None, None)))}}),
    ("I3", {"records": {"a": a_record(history=rows(CREATED, RUNNING) + rows(COMPLETED, attempt=2), attempt=2)}}),
    *(
        ("I3", {"records": {"a": a_record(history=former + rows(CREATED, RUNNING, COMPLETED, attempt=2), attempt=2)}})
        for former in (rows(CREATED, RUNNING, INTERRUPTED), rows(CREATED, RUNNING, COMPLETED), rows(CREATED, RUNNING))
    ),
    ("I3", {"records": {"a": a_record(history=(*rows(CREATED, FAILED), GIVEN_BACK), state=CREATED)}}),
    ("I3", {"records": {"a": a_record(CREATED, RUNNING, CREATED)}}),
    ("I4", {"events": [an_event("start"), an_event("start"), an_event("end")]}),
    ("I4", {"events": []}),
    ("I4", {"records": {"a": a_record(history=RETRIED, attempt=2)}}),
    ("I4", {"events": [an_event("start"), an_event("start", attempt=2, token="200")], "tokens": {"a": "200"}}),
    ("I5", {"events": [an_event("start"), an_event("overlap", attempt=2)]}),
    ("I5", {"events": [an_event("start"), an_event("start", attempt=2, token="200"), an_event("end")]}),
    ("I6", {"tokens": {"a": "99"}}),
    (
        "I6",
        {"events": [an_event("start", token="300"), an_event("start", attempt=2, token="200")], "tokens": {"a": "300"}},
    ),
    ("I6", {"stored": {"a": [a_chunk(b"token=77\n")]}, "expected": {}}),
    (
        "I6",
        {
            "records": {"a": a_record(history=RETRIED, attempt=2)},
            "events": [an_event("start"), an_event("start", attempt=2, token="200")],
            "tokens": {"a": "200"},
            "stored": {"a": [a_chunk(b"token=100\n"), a_chunk(b"token=200\ntoken=100\n", attempt=2)]},
            "expected": {},
        },
    ),
    ("I7", {"alive": {"100": [4001]}}),
    ("I7", {"records": {"a": a_record(interrupt_requested_ms=1000, ended_ms=13_001)}}),
    ("I8", {"alive": {"100": [4001]}}),
    ("I8", {"alive": {"100": [4001]}, "records": {}, "has_worker": False}),
    ("I8", {"alive": {"100": [4001]}, "records": {}}),
    ("I8", {"alive": {"100": [4001]}, "records": {"a": a_record(history=RETRIED[:4], state=CREATED, attempt=2)}}),
    ("I8", {"strays": [4002]}),
    ("I9", {"leftovers": ["3 entries in the streams"]}),
    ("I10", {"stored": {"a": [a_chunk(b"hallo")]}}),
    ("I10", {"stored": {"a": [a_chunk(b"lo", missing=3)]}}),
    ("I10", {"stored": {"a": []}}),
    *(
        ("I11", {"grown": {"worker": (Footprint(10, 4, 1, 0), after)}})
        for after in (Footprint(11, 4, 1, 0), Footprint(10, 13, 1, 0), Footprint(10, 4, 2, 0), Footprint(10, 4, 1, 1))
    ),
    ("I12", {"texts": {"log": "AUTH canary"}}),
]


def test_sound_evidence_has_no_violation_and_is_checked_in_full() -> None:
    verdict = judge(Evidence(**sound_evidence()))

    assert_invariants(verdict)
    assert [each.name for each in verdict.findings if not each.checked] == ["I5"], "there is only one attempt"


def test_evidence_without_any_job_is_refused() -> None:
    with pytest.raises(AssertionError, match=r"\['I1', 'I4'\]"):
        assert_invariants(judge(Evidence()))
    assert_invariants(judge(Evidence()), unseen=["I1", "I4"])
    with pytest.raises(AssertionError, match="expects"):
        assert_invariants(judge(Evidence(**sound_evidence())), unseen=["I4"])


def test_skipped_items_are_not_counted_as_checked() -> None:
    running = {"records": {"a": a_record(CREATED, RUNNING)}, "leftovers": ["1 entry"], "alive": {"100": [4001]}}

    checked = {each.name: each.checked for each in judge(Evidence(**sound_evidence() | running)).findings}

    assert (checked["I8"], checked["I9"]) == (0, 0)
    assert {each.name: each.checked for each in judge(Evidence(**sound_evidence() | {"records": {}})).findings}[
        "I10"
    ] == 0


@pytest.mark.parametrize(("name", "changed"), VIOLATIONS)
def test_violation_is_found(name: str, changed: dict[str, Any]) -> None:
    verdict = judge(Evidence(**sound_evidence() | changed))

    (finding,) = [each for each in verdict.findings if each.name == name]
    assert finding.violations
    with pytest.raises(AssertionError, match=f"{name} "):
        assert_invariants(verdict)
    assert len(verdict.table().splitlines()) == 1 + len(CHECKS)


def test_every_invariant_has_a_test_of_its_violation() -> None:
    assert {name for name, _ in VIOLATIONS} == {name for name, _, _ in CHECKS}


@pytest.mark.parametrize(
    "history",
    [
        rows(CREATED, RUNNING, IDLE, RUNNING, COMPLETED),
        rows(CREATED, FAILED),
        (*rows(CREATED, RUNNING), GIVEN_BACK, *[replace(each, at_ms=1002) for each in rows(RUNNING, COMPLETED)]),
        RETRIED,
    ],
    ids=["silence", "rejected", "given back", "retried"],
)
def test_paths_of_the_state_machine_are_no_violation(history: tuple[HistoryRow, ...]) -> None:
    record = a_record(history=history, state=history[-1].state, attempt=history[-1].attempt)

    assert judge(Evidence(records={"a": record})).violations == []


def test_output_that_was_dropped_and_counted_is_no_violation() -> None:
    record = a_record(output=OutputTotals(5, 3))

    verdict = judge(
        Evidence(**sound_evidence() | {"records": {"a": record}, "stored": {"a": [a_chunk(b"lo", missing=3)]}})
    )

    assert verdict.violations == []


def test_output_lost_with_its_worker_is_a_violation_unless_the_record_says_so() -> None:
    missing = {"stored": {"a": [a_chunk(b"he")]}}
    record = a_record(error="its worker process died before …; the end of its output may be missing")

    assert judge(Evidence(**sound_evidence() | missing)).violations
    assert judge(Evidence(**sound_evidence() | missing | {"records": {"a": record}})).violations == []
