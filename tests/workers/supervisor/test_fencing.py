"""An exclusive job is killed before its lease expires although its worker does nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from oneshot_queue.workers.ipc.journal import Journal
from oneshot_queue.workers.ipc.lease_margin import margin_s
from oneshot_queue.workers.processes.procfs import ticks_now
from oneshot_queue.workers.supervisor.fencing import LONGEST_START_S, OverdueStarts, fence_overdue
from tests.support.faults import without_descriptors
from tests.workers.ipc.test_journal import WORKER_ID, laid_out

LEASE_S = 30.0


@contextmanager
def a_job(
    *, renewed_s_ago: float, exclusive: bool = True, is_other: bool = False
) -> Iterator[tuple[Journal, int, int]]:
    """One running job: its journal, slot and process id; ``is_other``: another process has that id by now."""
    first = ticks_now()
    process = subprocess.Popen(["sleep", "300"], start_new_session=True)
    file = os.memfd_create("journal")
    try:
        journal = laid_out(file)
        journal.set_lease(0, "builds", f"{WORKER_ID}.1", LEASE_S)
        journal.renewed(0, time.monotonic() - renewed_s_ago)
        slot = journal.reserve(
            queue="builds", job_id="job", attempt=1, token="1", lease_id=f"{WORKER_ID}.1", exclusive=exclusive
        )
        if is_other:
            journal.started(slot, process.pid, first - 1_000, first - 999)
        else:
            journal.started(slot, process.pid, first, ticks_now())
        yield journal, slot, process.pid
    finally:
        os.close(file)
        process.kill()
        process.wait()


def is_killed(pid: int) -> bool:
    found = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    return found is not None and found.si_status == signal.SIGKILL


def test_exclusive_job_is_killed_before_its_lease_expires() -> None:
    with a_job(renewed_s_ago=LEASE_S - margin_s(LEASE_S)) as (journal, slot, pid):
        assert [each.job_id for each in fence_overdue(journal, time.monotonic())] == ["job"]

        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        assert is_killed(pid)
        assert journal.was_fenced(slot)
        assert fence_overdue(journal, time.monotonic()) == []


def test_exclusive_job_that_could_not_be_killed_without_descriptors_is_killed_later() -> None:
    with a_job(renewed_s_ago=10 * LEASE_S) as (journal, slot, pid):
        with without_descriptors(os.getpid()), pytest.raises(OSError, match="Too many open files"):
            fence_overdue(journal, time.monotonic())
        assert not is_killed(pid)

        fence_overdue(journal, time.monotonic())

        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        assert is_killed(pid)
        assert journal.was_fenced(slot)


@pytest.mark.parametrize(
    ("renewed_s_ago", "exclusive"), [(LEASE_S - margin_s(LEASE_S) - 1, True), (10 * LEASE_S, False)]
)
def test_job_whose_lease_is_fresh_or_that_is_not_exclusive_goes_on(renewed_s_ago: float, exclusive: bool) -> None:
    with a_job(renewed_s_ago=renewed_s_ago, exclusive=exclusive) as (journal, slot, pid):
        assert fence_overdue(journal, time.monotonic()) == []

        assert not is_killed(pid)
        assert not journal.was_fenced(slot)


def test_exclusive_job_whose_lease_was_lost_is_killed() -> None:
    with a_job(renewed_s_ago=0) as (journal, slot, pid):
        journal.set_lease(0, "builds", f"{WORKER_ID}.2", LEASE_S)
        fence_overdue(journal, time.monotonic())

        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        assert is_killed(pid)
        assert journal.was_fenced(slot)


def test_another_process_with_the_same_process_id_is_not_killed() -> None:
    with a_job(renewed_s_ago=10 * LEASE_S, is_other=True) as (journal, slot, pid):
        fence_overdue(journal, time.monotonic())

        assert not is_killed(pid)
        assert journal.was_fenced(slot)


@pytest.mark.parametrize(
    ("renewed_s_ago", "exclusive", "is_overdue"),
    [(LEASE_S, True, True), (LEASE_S - margin_s(LEASE_S) - 1, True, False), (10 * LEASE_S, False, False)],
)
def test_a_start_that_takes_too_long_is_found_where_it_may_overlap(
    renewed_s_ago: float, exclusive: bool, is_overdue: bool
) -> None:
    journal, starts, now_s = laid_out(os.memfd_create("journal")), OverdueStarts(), 1_000.0
    journal.set_lease(0, "builds", f"{WORKER_ID}.1", LEASE_S)
    journal.renewed(0, now_s - renewed_s_ago)

    def begin(job_id: str) -> int:
        lease_id = f"{WORKER_ID}.1"
        return journal.reserve(
            queue="builds", job_id=job_id, attempt=1, token="1", lease_id=lease_id, exclusive=exclusive
        )

    former = begin("former")
    assert starts.check(journal, now_s) is None, "it may have begun in time"
    journal.free(former)
    begin("job")
    assert starts.check(journal, now_s + LONGEST_START_S) is None, "each start has its own time limit"

    found = starts.check(journal, now_s + 2 * LONGEST_START_S)

    assert (found is not None and found.job_id == "job") is is_overdue


@pytest.mark.parametrize(("lease_s", "expected"), [(30.0, 5.0), (6.0, 1.0), (1.2, 0.2)])
def test_margin_is_a_sixth_of_the_lease_and_at_most_five_seconds(lease_s: float, expected: float) -> None:
    assert margin_s(lease_s) == pytest.approx(expected)
