"""The one checker of what must always hold (I1 to I12), which every test of faults ends with.

Each check judges what it was given and says how many things it looked at, so that a check that looked at nothing is
seen. All violations are told together, with what shows them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Final

from oneshot_queue import JobState
from oneshot_queue.jobs import HistoryRow
from oneshot_queue.states import FINAL_STATES, TRANSITIONS
from tests.faults.evidence import Evidence
from tests.integration.witness import Testimony

_TOKEN_IN_OUTPUT: Final = re.compile(rb"token=([\w-]+)")
_STEPS: Final = frozenset((state, to) for (state, _), to in TRANSITIONS.items())
_FIRST_ROWS: Final = 20
_END_MAY_BE_MISSING: Final = "the end of its output may be missing"
_POOLED_CONNECTIONS: Final = 12


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found."""

    name: str
    says: str
    checked: int
    violations: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What all checks found."""

    findings: tuple[Finding, ...]

    @property
    def violations(self) -> list[str]:
        """Each violation with the name of what it violates."""
        return [f"{each.name} ({each.says}): {text}" for each in self.findings for text in each.violations]

    def table(self) -> str:
        """Invariant, how many things were looked at, how many violate it."""
        rows = (f"{each.name:4} {each.says:62} {each.checked:8} {len(each.violations):8}" for each in self.findings)
        return "\n".join([f"{'':4} {'invariant':62} {'checked':>8} {'violated':>8}", *rows])


Violations = Iterator[str | int]
"""A text for each violation; a number for so many things looked at."""


def assert_invariants(verdict: Verdict) -> None:
    """Fail with all violations at once.

    Raises:
        AssertionError: There are some.
    """
    assert not verdict.violations, "\n".join(verdict.violations)


def judge(evidence: Evidence) -> Verdict:
    """Let every check look at the evidence."""
    findings = []
    for name, says, check in CHECKS:
        checked, violations = 0, []
        for each in check(evidence):
            if isinstance(each, int):
                checked += each
            else:
                violations.append(each)
        findings.append(Finding(name, says, checked, tuple(violations)))
    return Verdict(tuple(findings))


def _accepted_jobs_end(evidence: Evidence) -> Violations:
    yield len(evidence.acknowledged)
    for job_id in evidence.acknowledged:
        record = evidence.records.get(job_id)
        if record is None:
            yield f"{job_id} has no record: {evidence.unreadable.get(job_id, 'nobody looked')}"
        elif record.state not in FINAL_STATES:
            yield f"{job_id} is still {record.state}"


def _ends_stay(evidence: Evidence) -> Violations:
    yield len(evidence.records)
    yield from evidence.changed_ends
    for job_id, record in evidence.records.items():
        finals = [row for row in record.history if row.state in FINAL_STATES and row.attempt == record.attempt]
        if record.state in FINAL_STATES and len(finals) != 1:
            yield f"{job_id} has {len(finals)} ends in attempt {record.attempt}"
        if record.history and record.history[-1].state is not record.state:
            yield f"{job_id} is {record.state}, and its history ends with {record.history[-1].state}"


def _history_is_a_path(evidence: Evidence) -> Violations:
    yield len(evidence.records)
    for job_id, record in evidence.records.items():
        rows = record.history
        shown = " ".join(f"{row.state}/{row.attempt}" for row in rows)
        if not rows or (rows[0].state, rows[0].attempt) != (JobState.CREATED, 1):
            yield f"{job_id} does not begin as CREATED: {shown}"
        for index in range(1, len(rows)):
            is_gap = record.history_dropped > 0 and index == _FIRST_ROWS
            if not is_gap and not _may_follow(rows[index - 1], rows[index]):
                yield f"{job_id} goes from {rows[index - 1].state} to {rows[index].state}: {shown}"
            if rows[index].at_ms < rows[index - 1].at_ms:
                yield f"{job_id} goes back in time at row {index}: {shown}"


def _may_follow(former: HistoryRow, row: HistoryRow) -> bool:
    if row.state is JobState.CREATED:
        is_retry = row.attempt == former.attempt + 1 and former.state is not JobState.CREATED
        is_given_back = row.attempt == former.attempt and former.state is JobState.RUNNING
        return is_retry or is_given_back
    return row.attempt == former.attempt and (former.state, row.state) in _STEPS


def _starts(evidence: Evidence) -> dict[str, list[Testimony]]:
    found: dict[str, list[Testimony]] = {}
    for each in evidence.heard:
        if each.event == "start":
            found.setdefault(each.job_id, []).append(each)
    return found


def _one_start_an_attempt(evidence: Evidence) -> Violations:
    for job_id, starts in _starts(evidence).items():
        yield len(starts)
        attempts = [each.attempt for each in starts]
        shown = [(each.attempt, each.token, each.pid) for each in starts]
        if len(set(attempts)) != len(attempts):
            yield f"{job_id} started more than once in one attempt: {shown}"
        record = evidence.records.get(job_id)
        retries = getattr(record.spec, "retries", 0) if record else 0
        if len(starts) > 1 + retries:
            yield f"{job_id} started {len(starts)} times, and may be retried {retries} times: {shown}"


def _attempts_do_not_overlap(evidence: Evidence) -> Violations:
    for each in evidence.heard:
        if each.event == "overlap":
            yield f"{each.job_id}: attempt {each.attempt} found an earlier one alive"
    for job_id, starts in _starts(evidence).items():
        yield max(0, len(starts) - 1)
        latest = 0
        for each in evidence.heard:
            if each.job_id == job_id and each.event == "start":
                latest = max(latest, each.attempt)
            elif each.job_id == job_id and each.event == "end" and each.attempt < latest:
                yield f"{job_id}: attempt {each.attempt} ended after attempt {latest} had started"


def _old_tokens_write_nothing(evidence: Evidence) -> Violations:
    known: dict[str, set[str]] = {}
    for job_id, starts in _starts(evidence).items():
        yield len(starts)
        known[job_id] = {each.token for each in starts}
        by_attempt = sorted(starts, key=lambda each: each.attempt)
        if by_attempt != sorted(by_attempt, key=lambda each: _age(each.token)):
            yield f"{job_id}: a later attempt has a smaller token: {[each.token for each in by_attempt]}"
        token = evidence.tokens.get(job_id)
        if token is not None and _age(token) < max(_age(each.token) for each in starts):
            yield f"{job_id}: token {token} on record is older than one that was started with"
    for job_id, chunks in evidence.stored.items():
        for found in _TOKEN_IN_OUTPUT.findall(b"".join(each.data for each in chunks)):
            newest = evidence.tokens.get(job_id, "")
            if found.decode() != newest and found.decode() not in known.get(job_id, set()):
                yield f"{job_id}: output of token {found.decode()}, and the record has {newest}"


def _age(token: str) -> int:
    # What stands in front is a time in us; what follows makes it unguessable.
    return int(token.partition("-")[0])


def _interrupted_means_gone(evidence: Evidence) -> Violations:
    asked = set(evidence.interrupted)
    yield len(asked)
    for each in evidence.heard:
        if each.job_id in asked and each.event == "start" and evidence.alive.get(each.token):
            yield f"{each.job_id} was interrupted, and processes {evidence.alive[each.token]} live"


def _ended_means_gone(evidence: Evidence) -> Violations:
    yield len({each.token for each in evidence.heard})
    for each in evidence.heard:
        pids = evidence.alive.get(each.token)
        record = evidence.records.get(each.job_id)
        is_over = record is not None and record.state in FINAL_STATES and not record.survivors
        if each.event == "start" and pids and (is_over or not evidence.has_worker):
            yield f"{each.job_id} attempt {each.attempt} is over, and processes {pids} live"
    if evidence.strays:
        yield f"processes {list(evidence.strays)} live"


def _nothing_is_left_in_redis(evidence: Evidence) -> Violations:
    yield 1
    if all(record.state in FINAL_STATES for record in evidence.records.values()):
        yield from evidence.leftovers


def _output_is_what_was_written(evidence: Evidence) -> Violations:
    yield len(evidence.expected)
    for job_id, written in evidence.expected.items():
        record, position, missing = evidence.records.get(job_id), 0, 0
        if record is None:
            continue
        for chunk in evidence.stored.get(job_id, ()):
            position += chunk.missing
            missing += chunk.missing
            if written[position : position + len(chunk.data)] != chunk.data:
                yield f"{job_id}: the output at byte {position} is not what was written there"
                break
            position += len(chunk.data)
        else:
            missing += len(written) - position
            # Nobody can count what a worker that was killed had in its memory: that it may be missing has to be said.
            if missing and _END_MAY_BE_MISSING in (record.error or ""):
                continue
            if (record.output.bytes, record.output.dropped) != (len(written), missing):
                yield f"{job_id}: {len(written)} bytes written, {missing} missing, on record {record.output}"


def _nothing_grows(evidence: Evidence) -> Violations:
    yield len(evidence.grown)
    for name, (before, after) in evidence.grown.items():
        # A pool keeps the connections of its busiest moment, and no more.
        most = replace(before, connections=max(before.connections, _POOLED_CONNECTIONS))
        if after.connections > most.connections or replace(after, connections=most.connections) != most:
            yield f"{name} occupied {before} and occupies {after}"


def _no_secret_is_seen(evidence: Evidence) -> Violations:
    yield len(evidence.secrets) * len(evidence.texts)
    for name, value in evidence.secrets.items():
        for where, text in evidence.texts.items():
            if value in text:
                yield f"{name} is seen in {where}: …{text[max(0, text.index(value) - 40) : text.index(value)]}"


CHECKS: Final[tuple[tuple[str, str, Callable[[Evidence], Violations]], ...]] = (
    ("I1", "every job that was accepted ends", _accepted_jobs_end),
    ("I2", "an end never changes", _ends_stay),
    ("I3", "a history is a path of the machine", _history_is_a_path),
    ("I4", "an attempt starts at most once", _one_start_an_attempt),
    ("I5", "two attempts of a job never overlap", _attempts_do_not_overlap),
    ("I6", "nothing is written with an old token", _old_tokens_write_nothing),
    ("I7", "an interrupt that was answered leaves no process", _interrupted_means_gone),
    ("I8", "a job that is over, or whose worker is, leaves no process", _ended_means_gone),
    ("I9", "Redis keeps nothing but the ends", _nothing_is_left_in_redis),
    ("I10", "output is what was written, and what is missing is counted", _output_is_what_was_written),
    ("I11", "descriptors, threads and children are what they were", _nothing_grows),
    ("I12", "no secret is seen", _no_secret_is_seen),
)
"""Name, promise and check; a check yields texts of violations, and numbers of things it has looked at."""
