"""The shipper keeps nothing of a job once its output is sent, and lets jobs take turns."""

from __future__ import annotations

import gc
import weakref
from collections import Counter
from typing import Any

import pytest

from oneshot_queue.clock import SystemClock
from oneshot_queue.store.attempts import Recorded
from oneshot_queue.task_events import OutputStream
from oneshot_queue.workers.worker.services import shipper as shipper_module
from oneshot_queue.workers.worker.services.shipper import Shipper
from oneshot_queue.workers.worker.state.held_jobs import HeldJob
from tests.workers.worker.builders import RecordingControl, a_held_job, a_session


class AClock:
    now = 0.0

    def monotonic(self) -> float:
        return self.now

    def boottime(self) -> float:
        return self.now

    def now_ms(self) -> int:
        return round(self.now * 1000)


class Connection:
    """Accepts all output."""

    async def run_many(self, calls: list[Any]) -> list[Any]:
        return [Recorded() for _ in calls]


class Forgetful:
    """A recorder that does nothing."""

    def schedule(self, held: HeldJob) -> None:
        del held

    async def spool_results(self) -> None:
        return


@pytest.fixture
def shipper(monkeypatch: pytest.MonkeyPatch) -> Shipper:
    monkeypatch.setattr(shipper_module, "FIRST_DELAY_S", 0.0)
    clock = SystemClock()
    return Shipper(a_session(Connection(), clock=clock), recorder=Forgetful(), control=RecordingControl())


async def test_a_job_whose_output_was_sent_is_not_kept(shipper: Shipper) -> None:
    class Held(HeldJob):
        __slots__ = ("__weakref__",)

    held = Held(**{name: getattr(a_held_job(), name) for name in ("keys", "job_id", "attempt", "holder", "spec")})
    held.output.append(OutputStream.STDOUT, 0, b"hello", 1_000)
    shipper.schedule(held)
    assert await shipper.run_once() == 1

    seen = weakref.ref(held)
    del held
    gc.collect()

    assert seen() is None


async def test_output_that_follows_soon_waits_for_its_turn(shipper: Shipper) -> None:
    held = a_held_job()
    for offset in (0, 1):
        held.output.append(OutputStream.STDOUT, offset, b"x", 1_000)
        shipper.schedule(held)
        sent = await shipper.run_once()
        assert sent == (1 if offset == 0 else 0)

    shipper.schedule(held, at_once=True)

    assert await shipper.run_once() == 1


FLOODS = 8
ROUND_S = 0.02
PASTIME_S = 10.0


async def test_floods_take_turns_and_do_not_hold_up_a_job_that_writes_little() -> None:
    clock, sent = AClock(), Counter[str]()

    class SlowConnection:
        async def run_many(self, calls: list[Any]) -> list[Any]:
            clock.now += ROUND_S
            sent.update(str(call.words[2]).rpartition(":")[2] for call in calls)
            return [Recorded() for _ in calls]

    shipper = Shipper(a_session(SlowConnection(), clock=clock), recorder=Forgetful(), control=RecordingControl())
    jobs = [a_held_job(job_id) for job_id in ("talker", *(f"flood{number}" for number in range(FLOODS)))]
    written = Counter[str]()

    def write(held: HeldJob, size: int) -> None:
        held.output.append(OutputStream.STDOUT, written[held.job_id], b"x" * size, 1_000)
        written[held.job_id] += size
        shipper.schedule(held)

    talker, *floods = jobs
    while clock.now < PASTIME_S:
        for flood in floods:
            write(flood, 200_000)
        if clock.now >= written[talker.job_id]:
            write(talker, 1)
        before = clock.now
        await shipper.run_once()
        clock.now = max(clock.now, before + 0.001)

    assert sent["talker"] >= PASTIME_S - 1
    turns = [sent[flood.job_id] for flood in floods]
    assert min(turns) >= max(turns) - 1 > 10
