"""The doctor among the other steps: what it finds in a sound queue, and what it repairs in a damaged one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from hypothesis import strategies as st
from hypothesis.stateful import rule

from oneshot_queue.spec import Priority
from oneshot_queue.states import JobState
from oneshot_queue.store import checkup
from oneshot_queue.store.checkup import ExaminedPage
from tests.properties.faults import Faults
from tests.properties.jobs import Job
from tests.properties.stage import SETTINGS, pick
from tests.properties.work import choices
from tests.properties.world import World

NOBODY: Final = "nobody"
Corruption = Callable[[World, str, Job], str | None]
"""Damages a job; returns the code of the anomaly that this causes, or ``None`` where it is not possible."""


def _out_of_its_index(world: World, job_id: str, job: Job) -> str | None:
    if job.state.is_final:
        return None  # a finished job is found only through its index
    assert world.redis.zrem(world.keys.state(job.state), job_id) == 1
    return "job-in-no-index"


def _in_another_index(world: World, job_id: str, job: Job) -> str | None:
    other = JobState.IDLE if job.state is not JobState.IDLE else JobState.RUNNING
    assert world.redis.zadd(world.keys.state(other), {job_id: 1}) == 1
    return "index-ghost"


def _two_entries(world: World, job_id: str, job: Job) -> str | None:
    assert world.redis.xadd(world.keys.ready(job.plan.priority), {"id": job_id})
    return "entry-too-many"


def _entry_of_nobody(world: World, _job_id: str, job: Job) -> str | None:
    assert world.redis.xadd(world.keys.ready(job.plan.priority), {"id": NOBODY})
    return "entry-without-job"


def _delay_forgotten(world: World, job_id: str, _job: Job) -> str | None:
    return "delay-forgotten" if world.redis.zrem(world.key("delayed"), job_id) else None


def _expiry_forgotten(world: World, job_id: str, _job: Job) -> str | None:
    return "expiry-forgotten" if world.redis.zrem(world.key("expiring"), job_id) else None


def _delay_of_nobody(world: World, _job_id: str, _job: Job) -> str | None:
    assert world.redis.zadd(world.key("delayed"), {NOBODY: 1}) == 1
    return "delayed-ghost"


def _output_of_nobody(world: World, _job_id: str, _job: Job) -> str | None:
    assert world.redis.hset(world.key("kept"), NOBODY, 5) == 1
    assert world.redis.hincrby(world.keys.counters, "kept", 5) >= 5
    return "kept-ghost"


def _never_forgotten(world: World, job_id: str, job: Job) -> str | None:
    return "lasting-job" if job.state.is_final and world.redis.persist(world.keys.job(job_id)) else None


CORRUPTIONS: Final[tuple[Corruption, ...]] = (
    _out_of_its_index,
    _in_another_index,
    _two_entries,
    _entry_of_nobody,
    _delay_forgotten,
    _expiry_forgotten,
    _delay_of_nobody,
    _output_of_nobody,
    _never_forgotten,
)
OF_NOBODY: Final = frozenset({"entry-without-job", "delayed-ghost", "kept-ghost"})


class Examined(Faults):
    """All other steps, and the doctor."""

    @rule(repairs=st.booleans())
    def examine(self, repairs: bool) -> None:
        assert self._examined(repairs=repairs) == self.model.examine(repairs=repairs)
        self._correct_the_total()

    @rule(choice=choices, corrupt=st.sampled_from(CORRUPTIONS))
    def corrupt_and_repair(self, choice: int, corrupt: Corruption) -> None:
        """The check after each step proves the repair."""
        expected = self.model.examine(repairs=True)
        if not self.model.jobs:
            return
        job_id = pick(sorted(self.model.jobs), choice)
        code = corrupt(self.world, job_id, self.model.jobs[job_id])
        subject = NOBODY if code in OF_NOBODY else job_id
        assert self._examined(repairs=True) == expected | ({(code, subject)} if code else set())

    def _correct_the_total(self) -> None:
        """The total is not corrected from rows that have changed since they were added up."""
        rows, right = len(self.model.kept), sum(self.model.kept.values())
        wrong = self.world.redis.hincrby(self.keys.counters, "kept", 7)
        for read, count, is_so in ((right, rows, False), (wrong, rows + 1, False), (wrong, rows, True)):
            call = checkup.correct_total(self.keys, read=str(read), rows=count, right=right)
            assert self.world.run(call) == is_so

    def _examined(self, *, repairs: bool) -> set[tuple[str, str]]:
        """Examine everything; returns the codes and subjects of all anomalies."""
        keys, run = self.keys, self.world.run
        parts: list[ExaminedPage] = []
        parts += [run(checkup.examine_entries(keys, each, "", repairs=repairs)) for each in Priority]
        parts += [run(checkup.examine_due(keys, each, 0, repairs=repairs)) for each in ("delayed", "expiring")]
        parts += [run(checkup.examine_index(keys, each, 0, repairs=repairs, settings=SETTINGS)) for each in JobState]
        _, rows = run(checkup.kept_rows(keys, "0"))
        parts.append(run(checkup.examine_kept(keys, [job_id for job_id, _ in rows], repairs=repairs)))
        return {(find.code, find.subject) for part in parts for find in part.anomalies}
