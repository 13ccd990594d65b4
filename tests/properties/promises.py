"""What must hold after every step, judged from the keys alone, without the model."""

from __future__ import annotations

from itertools import pairwise

from oneshot_queue.states import TRANSITIONS, JobState
from tests.properties.jobs import Row, number_of, short
from tests.properties.world import UNFINISHED, Snapshot

CREATED = JobState.CREATED
RETURNS = frozenset({"unstarted"})


def check_snapshot(seen: Snapshot) -> None:
    """Each unfinished job is in exactly one place, and all indexes agree with the records."""
    queued = [job_id for ids in seen.streams.values() for job_id in ids]
    assert len(queued) == len(set(queued)), "a job has two entries"
    unfinished = {job_id for job_id, job in seen.jobs.items() if job["state"] in UNFINISHED}
    assert set(queued) | set(seen.delayed) == unfinished
    assert set(queued).isdisjoint(seen.delayed)
    assert set(seen.pending) <= set(queued)
    for job_id, job in seen.jobs.items():
        assert is_path(job["rows"]), f"{job_id} has an impossible history: {job['rows']}"
        assert (job["rows"][-1].attempt, job["rows"][-1].state) == (job["attempt"], job["state"])
        if job["state"] == CREATED:
            assert job["lease"] is None
            assert job_id not in seen.pending
        elif job_id in seen.pending:
            assert seen.pending[job_id] == job["lease"]
    assert seen.kept_total == sum(seen.kept.values())


def check_step(before: Snapshot, after: Snapshot) -> None:
    """No result changes, no history is rewritten, and tokens only grow between two snapshots."""
    for job_id, was in before.jobs.items():
        now = after.jobs.get(job_id)
        if now is None or now["rows"][: len(was["rows"])] != was["rows"]:
            assert was["state"] not in UNFINISHED, f"{job_id} vanished, or its history was rewritten"
            continue
        if was["state"] not in UNFINISHED:
            assert now == was, f"the result of {job_id} changed"
        if now["token"] not in (was["token"], short(was["token"])):
            assert number_of(now["token"]) > number_of(was["token"])


def is_path(rows: list[Row]) -> bool:
    """Whether a history is a path of the state machine, a return or a retry, in the order of time."""
    if rows[0][1:] != (1, CREATED, None):
        return False
    if any(later.at_ms < earlier.at_ms for earlier, later in pairwise(rows)):
        return False
    edges = set(TRANSITIONS.items())
    for (_, attempt, state, _), (_, next_attempt, next_state, cause) in pairwise(rows):
        if next_attempt == attempt + 1:
            if (state, next_state, cause) != (JobState.FAILED, CREATED, "retry"):
                return False
        elif next_attempt != attempt:
            return False
        elif next_state is CREATED:
            if state.is_final or cause not in RETURNS:
                return False
        elif not any(source == state and target is next_state for (source, _), target in edges):
            return False
    return True
