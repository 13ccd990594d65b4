"""The journal: what is written can be read, and damage does no harm."""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oneshot_queue.errors import MalformedData
from oneshot_queue.workers.ipc.dead_worker import read_dead_worker
from oneshot_queue.workers.ipc.journal import Journal
from oneshot_queue.workers.ipc.journal_format import (
    HEADER_BYTES,
    LEASE_BYTES,
    SLOT_BYTES,
    SlotState,
    boot_id,
    read_journal,
)

WORKER_ID = "0123456789abcdef" * 2


def laid_out(file: int, slots: int = 3) -> Journal:
    return Journal.lay_out(
        file, worker_id=WORKER_ID, namespace="oq", broker="b" * 64, cgroup="/sys/x", slots=slots, leases=2
    )


@pytest.fixture
def file() -> Iterator[int]:
    opened = os.memfd_create("journal")
    yield opened
    os.close(opened)


def reserved(journal: Journal, job_id: str = "job", *, exclusive: bool = False) -> int:
    lease_id = f"{WORKER_ID}.1"
    return journal.reserve(
        queue="builds", job_id=job_id, attempt=2, token="1700000000000000", lease_id=lease_id, exclusive=exclusive
    )


def test_supervisor_reads_what_the_worker_has_written(file: int) -> None:
    seen_by_supervisor = laid_out(file)
    journal = Journal.open(file)
    journal.set_process(17, 4_711)
    journal.count_job()
    journal.set_lease(1, "builds", f"{WORKER_ID}.1", 30.0)
    journal.renewed(1, 12.5)
    spawning, running, ended = (reserved(journal, name) for name in ("one", "two", "three"))
    journal.started(running, 100, 5, 6)
    journal.started(ended, 101, 5, 6)
    journal.exited(ended, -9)

    found = seen_by_supervisor.snapshot()

    assert (found.worker_id, found.namespace, found.cgroup, found.boot_id) == (WORKER_ID, "oq", "/sys/x", boot_id())
    assert (found.pid, found.started, found.jobs_taken, found.damaged) == (17, 4_711, 1, 0)
    (lease,) = found.leases
    assert (lease.queue, lease.lease_id, lease.lease_s, lease.renewed_s) == ("builds", f"{WORKER_ID}.1", 30.0, 12.5)
    slots = {slot.index: slot for slot in found.slots}
    assert [(slots[each].state, slots[each].job_id) for each in (spawning, running, ended)] == [
        (SlotState.SPAWNING, "one"),
        (SlotState.RUNNING, "two"),
        (SlotState.EXITED, "three"),
    ]
    assert (slots[spawning].pid, slots[running].pid, slots[ended].exit_code) == (None, 100, -9)
    assert found.lease_of(slots[running]) == lease
    assert slots[running].matches(100, 5)
    assert not slots[running].matches(100, 7)
    assert not slots[spawning].matches(0, 0)


def test_full_file_system_is_an_error_and_does_not_kill_the_process(tmp_path: Path) -> None:
    script = 'mount -t tmpfs -o size=64k none "$0" && exec "$@"'
    program = (
        "import os, sys; from tests.workers.ipc.test_journal import laid_out; "
        "laid_out(os.open(sys.argv[1], os.O_RDWR | os.O_CREAT), slots=4_000)"
    )
    words = ["unshare", "--mount", "--map-root-user", "sh", "-c", script, str(tmp_path)]
    if shutil.which("unshare") is None:
        pytest.skip("there is no unshare")

    done = subprocess.run(
        [*words, sys.executable, "-P", "-c", program, tmp_path / "journal"],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])},
        capture_output=True,
        text=True,
        check=False,
    )

    if done.stderr.startswith(("unshare:", "mount:")):
        pytest.skip(f"no file system can be mounted here: {done.stderr.strip()}")
    assert (done.returncode, "No space left on device" in done.stderr) == (1, True), done


def test_freed_slot_can_be_reserved_again(file: int) -> None:
    journal = laid_out(file)
    slots = [reserved(journal, str(number)) for number in range(3)]
    assert journal.free_slots == 0
    with pytest.raises(IndexError):
        reserved(journal)

    journal.free(slots[1])

    assert {slot.job_id for slot in journal.snapshot().slots} == {"0", "2"}
    assert reserved(journal, "next") == slots[1]


def test_unknown_exit_status_has_no_exit_code(file: int) -> None:
    journal = laid_out(file)
    slot = reserved(journal)
    journal.started(slot, 100, 5, 6)

    journal.exited(slot, None)

    (found,) = journal.snapshot().slots
    assert (found.state, found.exit_code) == (SlotState.EXITED, None)


def test_job_that_is_handed_over_again_is_recorded_with_both_tokens(file: int) -> None:
    journal = laid_out(file)
    slots = [reserved(journal, name) for name in ("one", "two")]
    journal.started(slots[0], 100, 5, 6)
    (first, other) = sorted(journal.snapshot().slots, key=lambda slot: slot.job_id)

    journal.handed_over(slots[0], "1700000000000001-ab", f"{WORKER_ID}.2")

    held_now = replace(first, held_as="1700000000000001-ab", lease_id=f"{WORKER_ID}.2")
    assert first.held_as == first.token
    assert sorted(journal.snapshot().slots, key=lambda slot: slot.job_id) == [held_now, other]


def test_exclusive_jobs_are_counted_and_a_fence_applies_to_one_job_only(file: int) -> None:
    supervisor, worker = laid_out(file), Journal.open(file)
    assert not supervisor.has_exclusive_jobs
    slot = reserved(worker, exclusive=True)
    (found,) = supervisor.snapshot().slots
    assert supervisor.has_exclusive_jobs
    assert not worker.was_fenced(slot)

    supervisor.fence(found)
    assert worker.was_fenced(slot)
    worker.free(slot)
    again = reserved(worker)

    assert again == slot
    assert not worker.was_fenced(again)
    assert not supervisor.has_exclusive_jobs


def test_dead_worker_names_the_jobs_that_may_have_been_started(file: int) -> None:
    journal = laid_out(file)
    reserved(journal)

    dead_worker = read_dead_worker(file, None)

    assert (dead_worker.worker_id, [slot.job_id for slot in dead_worker.slots], dead_worker.spool) == (
        WORKER_ID,
        ["job"],
        None,
    )


@pytest.mark.parametrize("harm", ["the machine was started again", "a slot was torn"])
def test_journal_proves_that_a_job_was_never_started_only_if_it_is_complete(file: int, harm: str) -> None:
    journal = laid_out(file)
    reserved(journal)
    assert read_dead_worker(file, None).is_complete

    if harm == "a slot was torn":
        os.pwrite(file, b"\xff", os.fstat(file).st_size - SLOT_BYTES)
    else:
        other = b"0" * 36
        os.pwrite(file, other, os.pread(file, HEADER_BYTES, 0).index(boot_id().encode()))

    assert not read_dead_worker(file, None).is_complete


@given(st.binary(max_size=2_000))
def test_garbage_is_not_a_journal(raw: bytes) -> None:
    with pytest.raises(MalformedData):
        read_journal(raw)


@given(
    st.lists(st.tuples(st.integers(512, 512 + 2 * LEASE_BYTES + 3 * SLOT_BYTES - 1), st.integers(0, 255)), max_size=200)
)
def test_damaged_entries_are_skipped_or_valid(damage: list[tuple[int, int]]) -> None:
    file = os.memfd_create("journal")
    try:
        journal = laid_out(file)
        journal.set_lease(0, "builds", f"{WORKER_ID}.1", 30.0)
        for number in range(3):
            journal.started(reserved(journal, str(number)), 100 + number, 5, 6)
        raw = bytearray(os.pread(file, 10_000, 0))
    finally:
        os.close(file)
    for at, value in damage:
        raw[at] = value

    found = read_journal(bytes(raw))

    assert len(found.slots) + len(found.leases) + found.damaged <= 5
    for slot in found.slots:
        assert slot.attempt >= 1
        assert slot.pid is None or 0 < slot.pid < 2**31
        assert "/" not in slot.job_id + slot.queue + slot.lease_id


def test_header_that_does_not_match_the_size_is_rejected(file: int) -> None:
    laid_out(file)
    raw = bytearray(os.pread(file, 10_000, 0))
    struct.pack_into("=I", raw, 12, 60_000)

    with pytest.raises(MalformedData):
        read_journal(bytes(raw))
