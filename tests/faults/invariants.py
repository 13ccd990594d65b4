"""The checks of what must always hold (I1 to I12), with which every fault test ends.

Each check counts what it looked at, so that a check that looked at nothing is noticed. All violations are reported
together, with the evidence for them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, replace
from typing import Final

from oneshot_queue import JobRecord, JobState
from oneshot_queue.client.verbs.logs import OutputChunk
from oneshot_queue.jobs import HistoryRow
from oneshot_queue.states import FINAL_STATES, TRANSITIONS
from tests.faults.evidence import Evidence
from tests.support.witness import WitnessEvent

# Whole lines only: a line may be cut off.
_TOKEN_IN_OUTPUT: Final = re.compile(rb"token=([\w-]+)\n")
_STEPS: Final = frozenset((state, to) for (state, _), to in TRANSITIONS.items())
_RETURNS: Final = frozenset({"unstarted", "postponed", "drained"})
_FIRST_ROWS: Final = 20
_END_MAY_BE_MISSING: Final = "the end of its output may be missing"
_POOLED_CONNECTIONS: Final = 12
_LATE_MS: Final = 2_000
_NEVER_UNSEEN: Final = frozenset({"I1", "I4"})


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check."""

    name: str
    promise: str
    checked: int
    violations: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Verdict:
    """The results of all checks."""

    findings: tuple[Finding, ...]

    @property
    def violations(self) -> list[str]:
        """Each violation, with the name of its invariant."""
        return [f"{each.name} ({each.promise}): {text}" for each in self.findings for text in each.violations]

    def table(self) -> str:
        """A table of the invariants: things checked, and violations."""
        rows = (f"{each.name:4} {each.promise:62} {each.checked:8} {len(each.violations):8}" for each in self.findings)
        return "\n".join([f"{'':4} {'invariant':62} {'checked':>8} {'violated':>8}", *rows])


Violations = Iterator[str | int]
"""A text for each violation, and numbers of things that were checked."""


def assert_invariants(verdict: Verdict, *, unseen: Collection[str] = ()) -> None:
    """Fail with all violations at once.

    Args:
        unseen: Those of I1 and I4 that have nothing to check in this test.

    Raises:
        AssertionError: There are violations, or a check had nothing to look at.
    """
    assert not verdict.violations, "\n".join(verdict.violations)
    idle = {each.name for each in verdict.findings if not each.checked} & _NEVER_UNSEEN
    assert idle == set(unseen), f"nothing was checked by {sorted(idle)}, and the test expects {sorted(unseen)}"


def judge(evidence: Evidence) -> Verdict:
    """Run every check on the evidence."""
    findings = []
    for name, promise, check in CHECKS:
        checked, violations = 0, []
        for each in check(evidence):
            if isinstance(each, int):
                checked += each
            else:
                violations.append(each)
        findings.append(Finding(name, promise, checked, tuple(violations)))
    return Verdict(tuple(findings))


def _accepted_jobs_get_a_result(evidence: Evidence) -> Violations:
    yield len(evidence.acknowledged)
    for job_id in evidence.acknowledged:
        record = evidence.records.get(job_id)
        if record is None:
            yield f"{job_id} has no record: {evidence.unreadable.get(job_id, 'it was not read')}"
        elif record.state not in FINAL_STATES:
            yield f"{job_id} is still {record.state}"


def _watched_results_stay(evidence: Evidence) -> Violations:
    yield evidence.watched_results
    yield from evidence.changed_results


def _histories_have_one_result(evidence: Evidence) -> Violations:
    yield len(evidence.records)
    for job_id, record in evidence.records.items():
        finals = [row for row in record.history if row.state in FINAL_STATES and row.attempt == record.attempt]
        if record.state in FINAL_STATES and len(finals) != 1:
            yield f"{job_id} has {len(finals)} results in attempt {record.attempt}"
        if record.history and record.history[-1].state is not record.state:
            yield f"{job_id} is {record.state}, and its history ends with {record.history[-1].state}"


def _history_is_a_path(evidence: Evidence) -> Violations:
    yield len(evidence.records)
    for job_id, record in evidence.records.items():
        rows = record.history
        shown = " ".join(f"{row.state}/{row.attempt}" for row in rows)
        if not rows or (rows[0].state, rows[0].attempt) != (JobState.CREATED, 1):
            yield f"the history of {job_id} does not begin with CREATED: {shown}"
        for index in range(1, len(rows)):
            is_gap = record.history_dropped > 0 and index == _FIRST_ROWS
            if not is_gap and not _may_follow(rows[index - 1], rows[index]):
                yield f"{job_id} went from {rows[index - 1].state} to {rows[index].state}: {shown}"
            if rows[index].at_ms < rows[index - 1].at_ms:
                yield f"the history of {job_id} goes back in time at row {index}: {shown}"


def _may_follow(former: HistoryRow, row: HistoryRow) -> bool:
    if row.state is JobState.CREATED:
        if row.attempt == former.attempt:
            return former.state is JobState.RUNNING and row.cause in _RETURNS
        return (former.state, row.cause, row.attempt) == (JobState.FAILED, "retry", former.attempt + 1)
    return row.attempt == former.attempt and (former.state, row.state) in _STEPS


def _starts(evidence: Evidence) -> dict[str, list[WitnessEvent]]:
    found: dict[str, list[WitnessEvent]] = {}
    for each in evidence.events:
        if each.event == "start":
            found.setdefault(each.job_id, []).append(each)
    return found


def _one_start_per_attempt(evidence: Evidence) -> Violations:
    for job_id, starts in _starts(evidence).items():
        yield len(starts)
        attempts = [each.attempt for each in starts]
        shown = [(each.attempt, each.token, each.pid) for each in starts]
        if len(set(attempts)) != len(attempts):
            yield f"{job_id} started more than once in one attempt: {shown}"
        record = evidence.records.get(job_id)
        retries = getattr(record.spec, "retries", 0) if record else 0
        if len(starts) > 1 + retries:
            yield f"{job_id} started {len(starts)} times, but has only {retries} retries: {shown}"
    started = {(each.job_id, each.attempt) for each in evidence.events if each.event == "start"}
    for job_id in evidence.witnessed:
        record = evidence.records.get(job_id)
        if record and record.state is JobState.COMPLETED and (job_id, record.attempt) not in started:
            yield f"{job_id} is COMPLETED, but attempt {record.attempt} never reported its start"


def _attempts_do_not_overlap(evidence: Evidence) -> Violations:
    for each in evidence.events:
        if each.event == "overlap":
            yield f"{each.job_id}: attempt {each.attempt} found an earlier attempt alive"
    for job_id, starts in _starts(evidence).items():
        yield max(0, len(starts) - 1)
        latest = 0
        for each in evidence.events:
            if each.job_id == job_id and each.event == "start":
                latest = max(latest, each.attempt)
            elif each.job_id == job_id and each.event == "end" and each.attempt < latest:
                yield f"{job_id}: attempt {each.attempt} ended after attempt {latest} had started"


def _old_tokens_write_nothing(evidence: Evidence) -> Violations:
    of_attempt = {
        (job_id, evidence.records[job_id].attempt): token
        for job_id, token in evidence.tokens.items()
        if job_id in evidence.records
    }
    for job_id, starts in _starts(evidence).items():
        yield len(starts)
        # Prefer the reported token: the record may have got another one since, with which no attempt writes.
        of_attempt |= {(job_id, each.attempt): each.token for each in starts}
        by_attempt = sorted(starts, key=lambda each: each.attempt)
        if by_attempt != sorted(by_attempt, key=lambda each: _age(each.token)):
            yield f"{job_id}: a later attempt has a smaller token: {[each.token for each in by_attempt]}"
        token = evidence.tokens.get(job_id)
        if token is not None and _age(token) < max(_age(each.token) for each in starts):
            yield f"{job_id}: token {token} in its record is older than that of a started attempt"
    for job_id, chunks in evidence.stored.items():
        for attempt in sorted({each.attempt for each in chunks}):
            token = of_attempt.get((job_id, attempt))
            found = _tokens_in([each for each in chunks if each.attempt == attempt])
            yield len(found)
            if strange := set(found) - {token}:
                yield f"{job_id}: attempt {attempt} has token {token}, but its output contains {sorted(strange)}"


def _tokens_in(chunks: Collection[OutputChunk]) -> list[str]:
    # The text around a gap is not one line.
    written = b"".join((b" " if each.missing else b"") + each.data for each in chunks)
    return [each.decode() for each in _TOKEN_IN_OUTPUT.findall(written)]


def _age(token: str) -> int:
    # The first part is a time in µs; the rest makes the token unguessable.
    return int(token.partition("-")[0])


def _interrupted_means_gone(evidence: Evidence) -> Violations:
    interrupted = set(evidence.interrupted)
    yield len(interrupted)
    for each in evidence.events:
        if each.job_id in interrupted and each.event == "start" and evidence.alive.get(each.token):
            yield f"{each.job_id} was interrupted, but processes {evidence.alive[each.token]} are alive"
    for job_id in interrupted & set(evidence.records) if evidence.is_prompt else ():
        record = evidence.records[job_id]
        late_ms = _late_ms(record)
        if late_ms > 0:
            yield f"{job_id} ended {late_ms} ms later than {_LATE_MS} ms after its interrupt and grace"


def _late_ms(record: JobRecord) -> int:
    """Milliseconds by which an interrupted job ended too late; 0 or less if in time, or if others settled it."""
    requested_ms, ended_ms = record.interrupt_requested_ms, record.ended_ms
    if not record.is_confirmed or requested_ms is None or ended_ms is None or record.spec is None:
        return 0
    return ended_ms - requested_ms - round(record.spec.grace * 1000) - _LATE_MS


def _ended_means_gone(evidence: Evidence) -> Violations:
    for each in evidence.events:
        if each.event != "start" or _may_live(evidence, each):
            continue
        yield 1
        if pids := evidence.alive.get(each.token):
            yield f"attempt {each.attempt} of {each.job_id} is over, but processes {pids} are alive"
    if evidence.strays:
        yield f"stray processes {list(evidence.strays)} are alive"


def _may_live(evidence: Evidence, start: WitnessEvent) -> bool:
    """Whether an attempt still runs, or is recorded to have left a process that could not be killed."""
    record = evidence.records.get(start.job_id)
    if record is None or not evidence.has_worker:
        return False
    return record.survivors > 0 or (record.state not in FINAL_STATES and record.attempt == start.attempt)


def _nothing_is_left_in_redis(evidence: Evidence) -> Violations:
    if not evidence.damaged and all(record.state in FINAL_STATES for record in evidence.records.values()):
        yield 1
        yield from evidence.leftovers


def _output_is_what_was_written(evidence: Evidence) -> Violations:
    for job_id, written in evidence.expected.items():
        record, position, missing = evidence.records.get(job_id), 0, 0
        if record is None:
            continue
        yield 1
        for chunk in evidence.stored.get(job_id, ()):
            if chunk.attempt != record.attempt:
                continue
            position += chunk.missing
            missing += chunk.missing
            if written[position : position + len(chunk.data)] != chunk.data:
                yield f"{job_id}: the stored output differs at byte {position}"
                break
            position += len(chunk.data)
        else:
            missing += len(written) - position
            # Output in the memory of a killed worker cannot be counted: the record must say that it may be missing.
            if missing and _END_MAY_BE_MISSING in (record.error or ""):
                continue
            if (record.output.bytes, record.output.dropped) != (len(written), missing):
                yield f"{job_id}: {len(written)} bytes written, {missing} missing, but recorded as {record.output}"


def _nothing_grows(evidence: Evidence) -> Violations:
    yield len(evidence.grown)
    for name, (before, after) in evidence.grown.items():
        # A pool keeps as many connections as it needed at its busiest.
        most = replace(before, connections=max(before.connections, _POOLED_CONNECTIONS))
        if after.connections > most.connections or replace(after, connections=most.connections) != most:
            yield f"{name} occupied {before} before, and {after} after"


def _no_secret_appears(evidence: Evidence) -> Violations:
    yield len(evidence.secrets) * len(evidence.texts)
    for name, value in evidence.secrets.items():
        for where, text in evidence.texts.items():
            if value in text:
                yield f"{name} appears in {where}: …{text[max(0, text.index(value) - 40) : text.index(value)]}"


CHECKS: Final[tuple[tuple[str, str, Callable[[Evidence], Violations]], ...]] = (
    ("I1", "every accepted job gets a result", _accepted_jobs_get_a_result),
    ("I2", "a watched result never changes", _watched_results_stay),
    ("I2h", "a history has one result, its last row", _histories_have_one_result),
    ("I3", "a history is a path of the state machine", _history_is_a_path),
    ("I4", "an attempt starts at most once", _one_start_per_attempt),
    ("I5", "two attempts of a job never overlap", _attempts_do_not_overlap),
    ("I6", "nothing is written with an old token", _old_tokens_write_nothing),
    ("I7", "an acknowledged interrupt leaves no process", _interrupted_means_gone),
    ("I8", "a job that is over, or whose worker is gone, leaves no process", _ended_means_gone),
    ("I9", "Redis keeps nothing but results", _nothing_is_left_in_redis),
    ("I10", "output is stored as written, and missing bytes are counted", _output_is_what_was_written),
    ("I11", "descriptors, threads and children do not grow", _nothing_grows),
    ("I12", "no secret appears anywhere", _no_secret_appears),
)
"""Name, promise and check of each invariant."""
