"""Files that workers of v0.1.0 left on disk are still recovered after an upgrade.

``v0_1_0/notes`` and ``v0_1_0/spool`` were written by the code of v0.1.0.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import pytest

from oneshot_queue.outcomes import Cause, Outcome, Usage
from oneshot_queue.states import JobState
from oneshot_queue.store.attempts import Holder
from oneshot_queue.store.keys import QueueKeys
from oneshot_queue.task_events import OutputStream
from oneshot_queue.wire.chunks import Chunk
from oneshot_queue.workers.ipc import journal as journal_module
from oneshot_queue.workers.ipc.dead_worker import read_dead_worker
from oneshot_queue.workers.ipc.journal import Journal
from oneshot_queue.workers.ipc.journal_format import JournalLease, JournalSlot, SlotState, read_journal
from oneshot_queue.workers.worker.spool import read_spool

FOLDER: Final = Path(__file__).with_name("v0_1_0")
WORKER_ID: Final = "0123456789abcdef" * 2
BOOT_ID: Final = "01234567-89ab-cdef-0123-456789abcdef"


def a_slot(index: int, state: SlotState, job_id: str, **changes: object) -> JournalSlot:
    """The slot that v0.1.0 wrote at this index: the numbers in it follow from the index."""
    fields: dict[str, object] = {
        "sequence": index + 1,
        "queue": "builds",
        "attempt": index + 1,
        "token": f"170000000000000{index + 1}",
        "held_as": f"170000000000000{index + 1}",
        "lease_id": f"{WORKER_ID}.1",
        "is_exclusive": False,
        "is_fenced": False,
        "pid": 2_000 + index,
        "exit_code": None,
    }
    return JournalSlot(index=index, state=state, job_id=job_id, **{**fields, **changes})  # type: ignore[arg-type]


def test_journal_is_read_slot_by_slot() -> None:
    found = read_journal((FOLDER / "notes").read_bytes())

    assert (found.worker_id, found.namespace, found.broker) == (WORKER_ID, "team", "b" * 64)
    assert (found.boot_id, found.cgroup) == (BOOT_ID, "/sys/fs/cgroup/x")
    assert (found.pid, found.started, found.jobs_taken, found.damaged) == (4_711, 123_456_789_012, 7, 0)
    assert found.leases == (
        JournalLease("builds", f"{WORKER_ID}.1", 30.0, 1_234.5),
        JournalLease("mails", f"{WORKER_ID}.2", 45.5, 0.0),
    )
    mails = {"queue": "mails", "lease_id": f"{WORKER_ID}.2"}
    assert found.slots == (
        a_slot(0, SlotState.SPAWNING, "spawning", pid=None, started=(100, 100)),
        a_slot(1, SlotState.RUNNING, "running", started=(102, 103), is_exclusive=True, is_fenced=True),
        a_slot(2, SlotState.EXITED, "exited", started=(105, 106), exit_code=-9, **mails),
        a_slot(3, SlotState.EXITED, "handed-over", started=(108, 109), held_as="1700000000000005-ab"),
    )


def test_the_same_steps_write_the_same_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal_module, "boot_id", lambda: BOOT_ID)
    file = os.memfd_create("journal")

    journal = Journal.lay_out(
        file, worker_id=WORKER_ID, namespace="team", broker="b" * 64, cgroup="/sys/fs/cgroup/x", slots=5, leases=2
    )
    journal.set_process(4_711, 123_456_789_012)
    for _ in range(7):
        journal.count_job()
    journal.set_lease(0, "builds", f"{WORKER_ID}.1", 30.0)
    journal.renewed(0, 1_234.5)
    journal.set_lease(1, "mails", f"{WORKER_ID}.2", 45.5)
    jobs = {"spawning": 100, "running": 101, "exited": 104, "handed-over": 107, "freed": 0}
    slots = {
        job_id: journal.reserve(
            queue="mails" if job_id == "exited" else "builds",
            job_id=job_id,
            attempt=number,
            token=f"170000000000000{number + (job_id == 'freed')}",
            lease_id=f"{WORKER_ID}.{2 if job_id == 'exited' else 1}",
            exclusive=job_id == "running",
            first_tick=first_tick,
        )
        for number, (job_id, first_tick) in enumerate(jobs.items(), start=1)
    }
    for job_id, pid, tick in (("running", 2_001, 102), ("exited", 2_002, 105), ("handed-over", 2_003, 108)):
        journal.started(slots[job_id], pid, tick, tick + 1)
    journal.exited(slots["exited"], -9)
    journal.handed_over(slots["handed-over"], "1700000000000005-ab", f"{WORKER_ID}.1")
    journal.exited(slots["handed-over"], None)
    journal.free(slots["freed"])
    journal.fence(next(slot for slot in journal.snapshot().slots if slot.job_id == "running"))

    assert os.pread(file, 10_000, 0) == (FOLDER / "notes").read_bytes()
    os.close(file)


def test_jobs_of_the_dead_worker_are_recovered() -> None:
    with (FOLDER / "notes").open("rb") as file:
        dead_worker = read_dead_worker(file.fileno(), FOLDER)

    assert [slot.job_id for slot in dead_worker.slots] == ["spawning", "running", "exited", "handed-over"]
    assert dead_worker.spool == FOLDER / "spool"
    assert not dead_worker.is_complete  # The machine has been restarted since.


def test_spooled_results_are_read() -> None:
    first, second = read_spool(FOLDER / "spool", lambda queue: QueueKeys("team", queue))

    completed, failed = first.completion, second.completion
    assert (first.ended_ms, second.ended_ms) == (1_700_000_000_123, 1_700_000_000_456)
    assert (completed.keys.queue, completed.job_id, completed.attempt) == ("builds", "completed", 1)
    assert completed.holder == Holder("1700000000000001", f"{WORKER_ID}.1", "bob")
    assert completed.outcome == Outcome(JobState.COMPLETED, Cause.EXIT, exit_code=0, usage=Usage(0.25, 0.125, 4_096))
    assert completed.inline == (Chunk(1, OutputStream.STDOUT, 0, 1_700_000_000_100, b"hello\n"),)
    assert (completed.kept, completed.fields, completed.retry_after_s) == (6, {"pid": 4_001}, None)
    assert (failed.job_id, failed.started_s, failed.retry_after_s) == ("failed", None, 1.5)
    assert failed.outcome == Outcome(
        JobState.FAILED, Cause.SIGNAL, signal=9, attempt=2, error="killed", survivors=(77, 78)
    )
