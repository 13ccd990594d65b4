"""Notes in shared memory: what is written comes back, and what makes no sense harms nobody."""

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
from oneshot_queue.workers.ipc.journal_format import HEADER, LEASE, SLOT, SlotState, boot_id, read_journal

WORKER_ID = "0123456789abcdef" * 2


def laid_out(file: int, slots: int = 3) -> Journal:
    return Journal.lay_out(
        file, worker_id=WORKER_ID, namespace="oq", broker="b" * 64, cgroup="/sys/x", slots=slots, leases=2
    )


@pytest.fixture
def file() -> Iterator[int]:
    opened = os.memfd_create("notes")
    yield opened
    os.close(opened)


def reserved(notes: Journal, job_id: str = "job", *, exclusive: bool = False) -> int:
    lease_id = f"{WORKER_ID}.1"
    return notes.reserve(
        queue="builds", job_id=job_id, attempt=2, token="1700000000000000", lease_id=lease_id, exclusive=exclusive
    )


def test_what_the_worker_writes_the_supervisor_reads(file: int) -> None:
    seen_by_supervisor = laid_out(file)
    notes = Journal.open(file)
    notes.set_process(17, 4_711)
    notes.count_job()
    notes.set_lease(1, "builds", f"{WORKER_ID}.1", 30.0)
    notes.renewed(1, 12.5)
    spawning, running, ended = (reserved(notes, name) for name in ("one", "two", "three"))
    notes.started(running, 100, 5, 6)
    notes.started(ended, 101, 5, 6)
    notes.exited(ended, -9)

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
    assert slots[running].is_of(100, 5)
    assert not slots[running].is_of(100, 7)
    assert not slots[spawning].is_of(0, 0)


def test_file_system_without_room_is_an_error_and_not_the_end_of_the_process(tmp_path: Path) -> None:
    script = 'mount -t tmpfs -o size=64k none "$0" && exec "$@"'
    program = (
        "import os, sys; from tests.workers.ipc.test_journal import laid_out; "
        "laid_out(os.open(sys.argv[1], os.O_RDWR | os.O_CREAT), slots=4_000)"
    )
    words = ["unshare", "--mount", "--map-root-user", "sh", "-c", script, str(tmp_path)]
    if shutil.which("unshare") is None:
        pytest.skip("there is no unshare")

    done = subprocess.run(
        [*words, sys.executable, "-P", "-c", program, tmp_path / "notes"],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])},
        capture_output=True,
        text=True,
        check=False,
    )

    if done.stderr.startswith(("unshare:", "mount:")):
        pytest.skip(f"no file system can be mounted here: {done.stderr.strip()}")
    assert (done.returncode, "No space left on device" in done.stderr) == (1, True), done


def test_slot_is_free_again_when_the_end_is_on_record(file: int) -> None:
    notes = laid_out(file)
    slots = [reserved(notes, str(number)) for number in range(3)]
    assert notes.free_slots == 0
    with pytest.raises(IndexError):
        reserved(notes)

    notes.free(slots[1])

    assert {slot.job_id for slot in notes.snapshot().slots} == {"0", "2"}
    assert reserved(notes, "next") == slots[1]


def test_exit_that_nobody_knows_is_no_code(file: int) -> None:
    notes = laid_out(file)
    slot = reserved(notes)
    notes.started(slot, 100, 5, 6)

    notes.exited(slot, None)

    (found,) = notes.snapshot().slots
    assert (found.state, found.exit_code) == (SlotState.EXITED, None)


def test_job_that_is_handed_over_once_more_is_noted_as_held_under_the_new_token_too(file: int) -> None:
    notes = laid_out(file)
    slots = [reserved(notes, name) for name in ("one", "two")]
    notes.started(slots[0], 100, 5, 6)
    (first, other) = sorted(notes.snapshot().slots, key=lambda slot: slot.job_id)

    notes.handed_over(slots[0], "1700000000000001-ab", f"{WORKER_ID}.2")

    held_now = replace(first, held_as="1700000000000001-ab", lease_id=f"{WORKER_ID}.2")
    assert first.held_as == first.token
    assert sorted(notes.snapshot().slots, key=lambda slot: slot.job_id) == [held_now, other]


def test_exclusive_jobs_are_counted_and_a_fence_is_of_one_job_only(file: int) -> None:
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


def test_estate_names_the_jobs_that_may_have_been_started(file: int) -> None:
    notes = laid_out(file)
    reserved(notes)

    dead_worker = read_dead_worker(file, None)

    assert (dead_worker.worker_id, [slot.job_id for slot in dead_worker.slots], dead_worker.spool) == (
        WORKER_ID,
        ["job"],
        None,
    )


@pytest.mark.parametrize("harm", ["the machine was started again", "a slot was torn"])
def test_notes_prove_that_a_job_was_never_started_only_if_all_of_them_are_there(file: int, harm: str) -> None:
    notes = laid_out(file)
    reserved(notes)
    assert read_dead_worker(file, None).is_complete

    if harm == "a slot was torn":
        os.pwrite(file, b"\xff", os.fstat(file).st_size - SLOT.size)
    else:
        other = b"0" * 36
        os.pwrite(file, other, os.pread(file, HEADER.size, 0).index(boot_id().encode()))

    assert not read_dead_worker(file, None).is_complete


@given(st.binary(max_size=2_000))
def test_garbage_is_no_notes(raw: bytes) -> None:
    with pytest.raises(MalformedData):
        read_journal(raw)


@given(
    st.lists(st.tuples(st.integers(512, 512 + 2 * LEASE.size + 3 * SLOT.size - 1), st.integers(0, 255)), max_size=200)
)
def test_damaged_entries_are_left_out_or_make_sense(damage: list[tuple[int, int]]) -> None:
    file = os.memfd_create("notes")
    try:
        notes = laid_out(file)
        notes.set_lease(0, "builds", f"{WORKER_ID}.1", 30.0)
        for number in range(3):
            notes.started(reserved(notes, str(number)), 100 + number, 5, 6)
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


def test_header_that_promises_more_than_there_is_is_refused(file: int) -> None:
    laid_out(file)
    raw = bytearray(os.pread(file, 10_000, 0))
    struct.pack_into("=I", raw, 12, 60_000)

    with pytest.raises(MalformedData):
        read_journal(bytes(raw))
