"""The one checker of what must always hold (I1 to I12), which every test of faults ends with.

Each check judges what it was given and says how many things it looked at, so that a check that looked at nothing is
seen. All violations are told together, with what shows them.
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
from tests.support.witness import Testimony

# Whole lines only: the end of one may be missing.
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


def assert_invariants(verdict: Verdict, *, unseen: Collection[str] = ()) -> None:
    """Fail with all violations at once.

    Args:
        unseen: Those of I1 and I4 for which the test has nothing to look at, and knows that.

    Raises:
        AssertionError: There are some, or there was nothing to look at.
    """
    assert not verdict.violations, "\n".join(verdict.violations)
    idle = {each.name for each in verdict.findings if not each.checked} & _NEVER_UNSEEN
    assert idle == set(unseen), f"nothing was looked at by {sorted(idle)}, and the test expects {sorted(unseen)}"


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


def _watched_ends_stay(evidence: Evidence) -> Violations:
    yield evidence.watched_ends
    yield from evidence.changed_ends


def _histories_have_one_end(evidence: Evidence) -> Violations:
    yield len(evidence.records)
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
        if row.attempt == former.attempt:
            return former.state is JobState.RUNNING and row.cause in _RETURNS
        return (former.state, row.cause, row.attempt) == (JobState.FAILED, "retry", former.attempt + 1)
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
    started = {(each.job_id, each.attempt) for each in evidence.heard if each.event == "start"}
    for job_id in evidence.witnessed:
        record = evidence.records.get(job_id)
        if record and record.state is JobState.COMPLETED and (job_id, record.attempt) not in started:
            yield f"{job_id} is COMPLETED, and nobody saw attempt {record.attempt} start"


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
    of_attempt = {
        (job_id, evidence.records[job_id].attempt): token
        for job_id, token in evidence.tokens.items()
        if job_id in evidence.records
    }
    for job_id, starts in _starts(evidence).items():
        yield len(starts)
        # Who was started knows best: a record may have been given another token since, and nobody writes with it.
        of_attempt |= {(job_id, each.attempt): each.token for each in starts}
        by_attempt = sorted(starts, key=lambda each: each.attempt)
        if by_attempt != sorted(by_attempt, key=lambda each: _age(each.token)):
            yield f"{job_id}: a later attempt has a smaller token: {[each.token for each in by_attempt]}"
        token = evidence.tokens.get(job_id)
        if token is not None and _age(token) < max(_age(each.token) for each in starts):
            yield f"{job_id}: token {token} on record is older than one that was started with"
    for job_id, chunks in evidence.stored.items():
        for attempt in sorted({each.attempt for each in chunks}):
            token = of_attempt.get((job_id, attempt))
            found = _tokens_in([each for each in chunks if each.attempt == attempt])
            yield len(found)
            if strange := set(found) - {token}:
                yield f"{job_id}: attempt {attempt} has token {token}, and its output is of {sorted(strange)}"


def _tokens_in(chunks: Collection[OutputChunk]) -> list[str]:
    # What stands on both sides of a gap is no line.
    written = b"".join((b" " if each.missing else b"") + each.data for each in chunks)
    return [each.decode() for each in _TOKEN_IN_OUTPUT.findall(written)]


def _age(token: str) -> int:
    # What stands in front is a time in us; what follows makes it unguessable.
    return int(token.partition("-")[0])


def _interrupted_means_gone(evidence: Evidence) -> Violations:
    asked = set(evidence.interrupted)
    yield len(asked)
    for each in evidence.heard:
        if each.job_id in asked and each.event == "start" and evidence.alive.get(each.token):
            yield f"{each.job_id} was interrupted, and processes {evidence.alive[each.token]} live"
    for job_id in asked & set(evidence.records) if evidence.is_prompt else ():
        record = evidence.records[job_id]
        late_ms = _late_ms(record)
        if late_ms > 0:
            yield f"{job_id} ended {late_ms} ms after its interrupt, its grace and {_LATE_MS} ms were over"


def _late_ms(record: JobRecord) -> int:
    """How much later an interrupted job ended than it may; at most 0 if it was in time, or was decided by others."""
    requested_ms, ended_ms = record.interrupt_requested_ms, record.ended_ms
    if not record.is_confirmed or requested_ms is None or ended_ms is None or record.spec is None:
        return 0
    return ended_ms - requested_ms - round(record.spec.grace * 1000) - _LATE_MS


def _ended_means_gone(evidence: Evidence) -> Violations:
    for each in evidence.heard:
        if each.event != "start" or _may_live(evidence, each):
            continue
        yield 1
        if pids := evidence.alive.get(each.token):
            yield f"{each.job_id} attempt {each.attempt} is over, and processes {pids} live"
    if evidence.strays:
        yield f"processes {list(evidence.strays)} live"


def _may_live(evidence: Evidence, start: Testimony) -> bool:
    """Whether an attempt still runs, or is known to have left a process that nobody could kill."""
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
    ("I2", "an end never changes while it is watched", _watched_ends_stay),
    ("I2h", "a history has one end, its last row", _histories_have_one_end),
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
