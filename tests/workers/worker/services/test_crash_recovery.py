"""A dead worker is recovered until all of its jobs are settled, and only then reported to the supervisor."""

from __future__ import annotations

from typing import Any

import anyio

from oneshot_queue.outcomes import Cause
from oneshot_queue.spec import JobSpec
from oneshot_queue.store.attempts import Recorded
from oneshot_queue.store.calls import Call
from oneshot_queue.store.claims import Claim, Claimed, Returned
from oneshot_queue.store.records import UnfinishedAttempt
from oneshot_queue.store.sweep import Swept
from oneshot_queue.wire.specs import pack_spec
from oneshot_queue.workers.ipc.dead_worker import DeadWorker
from oneshot_queue.workers.ipc.journal_format import JournalLease, JournalSlot, SlotState
from oneshot_queue.workers.worker.services.crash_recovery import CrashRecovery
from tests.support.waiting import eventually
from tests.workers.worker.builders import a_session
from tests.workers.worker.services.broker import ScriptedBroker


class Harness:
    """A recovery of one dead worker with one lease."""

    def __init__(self, *claims: Claim, slots: tuple[JournalSlot, ...] = ()) -> None:
        self.recovered_ids: list[str] = []
        self.dead = [DeadWorker("dead", (JournalLease("queue", "dead.1", 30.0, 0.0),), slots, True, None, ())]
        known = list(claims)

        def reclaim(_: Call[Any]) -> Claimed:
            found, known[:] = tuple(known), []
            return Claimed(found, 0)

        self.broker = ScriptedBroker(
            adopt=True,
            ZADD=1,
            reclaim=reclaim,
            give_back=Returned(),
            HMGET=UnfinishedAttempt(is_interrupted=False, kept=0),
            finish=Recorded(),
            sweep=Swept(0, is_done=True),
        )
        self.recovery = CrashRecovery(a_session(self.broker), self, self)

    async def receive(self) -> DeadWorker:
        while not self.dead:
            await anyio.sleep_forever()
        return self.dead.pop()

    def recovered(self, worker_id: str) -> None:
        self.recovered_ids.append(worker_id)

    async def recover(self) -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(self.recovery.run)
            await eventually(lambda: self.recovered_ids, what="the recovery")
            group.cancel_scope.cancel()


def a_claim(job_id: str = "a") -> Claim:
    return Claim(job_id, 1, f"7-{job_id}", pack_spec(JobSpec(["true"])), b"")


def a_slot(exit_code: int | None, job_id: str = "a", *, is_fenced: bool = False) -> JournalSlot:
    token = f"7-{job_id}"
    state = SlotState.RUNNING if exit_code is None else SlotState.EXITED
    return JournalSlot(
        0, state, 1, "queue", job_id, 1, token, token, "dead.1", False, is_fenced, 4001, (1, 2), exit_code
    )


async def test_job_that_never_started_returns_to_its_queue() -> None:
    harness = Harness(a_claim())

    await harness.recover()

    assert [words[:5] for words in harness.broker.words("give_back")] == [("a", "7-a", "dead.1", "name", "unstarted")]
    assert harness.broker.words("finish") == []


async def test_exit_status_that_the_worker_saw_is_the_result() -> None:
    harness = Harness(a_claim(), slots=(a_slot(3),))

    await harness.recover()

    (words,) = harness.broker.words("finish")
    assert (words[0], words[3], words[4]) == ("a", "fail", Cause.EXIT)
    assert harness.broker.words("give_back") == []


async def test_job_without_a_known_exit_status_is_left_to_the_sweep_which_marks_it_lost() -> None:
    harness = Harness(a_claim(), slots=(a_slot(None),))

    await harness.recover()

    assert harness.broker.words("finish") == harness.broker.words("give_back") == []
    assert [words[0] for words in harness.broker.words("sweep")] == ["dead.1"]


async def test_lease_is_condemned_before_its_jobs_are_read() -> None:
    harness = Harness(a_claim(), slots=(a_slot(0),))

    await harness.recover()

    names = [name for name, _ in harness.broker.asked]
    assert names.index("adopt") < names.index("ZADD") < names.index("reclaim") < names.index("sweep")


async def test_recovery_is_reported_to_the_supervisor_only_after_the_outage() -> None:
    harness = Harness(a_claim())
    harness.broker.is_away = True

    async with anyio.create_task_group() as group:
        group.start_soon(harness.recovery.run)
        await anyio.wait_all_tasks_blocked()
        assert harness.recovered_ids == []
        harness.broker.is_away = False
        await eventually(lambda: harness.recovered_ids, what="the recovery")
        group.cancel_scope.cancel()

    assert harness.recovered_ids == ["dead"]
