"""A sweeper judges by its own clock alone, and only what it has watched without a gap."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest

from oneshot_queue.errors import BrokerError, BrokerUnreachable
from oneshot_queue.states import JobState
from oneshot_queue.store.calls import Call
from oneshot_queue.store.keys import QueueKeys
from oneshot_queue.store.sweep import Audited, LeaseSeen, NotSwept, Swept
from oneshot_queue.workers.worker.services.sweeper import Sweeper
from tests.workers.worker.builders import ManualClock, a_session
from tests.workers.worker.services.broker import ScriptedBroker, damage

LEASE_S = 30.0
STEP_S = 5.0
CLEAN = Audited(0, 0, ())


class Harness:
    """A sweeper of one queue, and the leases that it sees there."""

    def __init__(self, *leases: LeaseSeen, queues: int = 1) -> None:
        self.clock = ManualClock()
        self.leases = list(leases)
        self.suspects: dict[str, tuple[tuple[str, str], ...]] = {}
        self.is_other_sweeping = False
        self.broker = ScriptedBroker(
            watch=lambda _: None if self.is_other_sweeping else tuple(self.leases),
            sweep=Swept(1, is_done=True),
            audit=self._audited,
            settle=True,
        )
        self.sweeper = Sweeper(
            a_session(
                self.broker,
                queues=[f"queue{number}" for number in range(queues)],
                clock=self.clock,
                lease_s=LEASE_S,
                worker_id="own",
            )
        )

    async def look(self, *, times: int = 1, every_s: float = STEP_S) -> None:
        """Let time pass, and sweep."""
        for _ in range(times):
            self.clock.seconds += every_s
            await self.sweeper.run_once()

    @property
    def condemned(self) -> list[tuple[str, str]]:
        """Return the leases that were swept, each with the end that the call named."""
        return [(words[0], words[1]) for words in self.broker.words("sweep")]

    @property
    def settled(self) -> list[tuple[str, str]]:
        return [(words[0], words[1]) for words in self.broker.words("settle")]

    def _audited(self, call: Call[Any]) -> Audited:
        suspects = self.suspects.get(str(call.words[-2]), ())
        return Audited(len(suspects), 0, suspects)


def silent(name: str = "other.1", *, length_s: float = LEASE_S) -> LeaseSeen:
    return LeaseSeen(name, "1700000000000", length_s)


async def test_lease_is_condemned_once_its_end_has_not_moved_for_its_whole_length() -> None:
    harness = Harness(silent())

    await harness.look(times=6)
    assert harness.condemned == []
    await harness.look()

    assert harness.condemned == [("other.1", "1700000000000")]


async def test_lease_whose_end_moves_is_never_condemned() -> None:
    harness = Harness()
    for end in range(100):
        harness.leases = [LeaseSeen("other.1", str(1_000 + end // 6), LEASE_S)]
        await harness.look()

    assert harness.condemned == []


@pytest.mark.parametrize(("length_s", "looks"), [(10.0, 3), (60.0, 13), (0.0, 7)])
async def test_length_is_that_of_the_lease_or_else_of_the_settings(length_s: float, looks: int) -> None:
    harness = Harness(silent(length_s=length_s))

    await harness.look(times=looks - 1)
    assert harness.condemned == []
    await harness.look()

    assert len(harness.condemned) == 1


async def test_slow_replies_do_not_make_a_lease_look_unchanged_for_longer() -> None:
    harness = Harness(silent())

    def be_slow() -> None:
        if harness.broker.asked[-1][0] == "watch":
            harness.clock.seconds += 4.0

    harness.broker.before_reply = be_slow
    # First read at the end of the first reply: 9 s after the start.
    await harness.look()
    harness.broker.before_reply = lambda: None
    read_s = harness.clock.seconds
    while not harness.condemned:
        await harness.look(every_s=1.0)

    assert harness.clock.seconds - read_s >= LEASE_S


async def test_own_lease_is_never_condemned() -> None:
    harness = Harness(silent("own.1"))

    await harness.look(times=20)

    assert harness.condemned == []


async def test_lease_that_another_worker_condemned_is_left_to_it_for_its_whole_length() -> None:
    harness = Harness(silent())
    await harness.look(times=6)
    harness.leases = [LeaseSeen("other.1", "0", LEASE_S)]

    await harness.look(times=6)
    assert harness.condemned == []
    await harness.look()

    assert harness.condemned == [("other.1", "0")]


async def test_lease_is_swept_until_nothing_is_left_of_it() -> None:
    harness = Harness(silent())
    answers = [Swept(100, is_done=False), Swept(100, is_done=False), Swept(7, is_done=True)]
    harness.broker.answers["sweep"] = lambda _: answers.pop(0)
    await harness.look(times=6)
    harness.clock.seconds += STEP_S

    assert await harness.sweeper.run_once() == 207

    assert len(harness.condemned) == 3


async def test_lease_that_was_renewed_meanwhile_is_left_alone() -> None:
    harness = Harness(silent())
    harness.broker.answers["sweep"] = NotSwept()

    await harness.look(times=7)

    assert len(harness.condemned) == 1


async def fails(harness: Harness) -> None:
    harness.broker.is_away = True
    with pytest.raises(BrokerUnreachable):
        await harness.look(every_s=1.0)
    harness.broker.is_away = False


async def pauses(harness: Harness) -> None:
    harness.clock.seconds += 3 * LEASE_S


async def is_relieved(harness: Harness) -> None:
    harness.is_other_sweeping = True
    await harness.look(every_s=1.0)
    harness.is_other_sweeping = False


@pytest.mark.parametrize("what", [fails, pauses, is_relieved])
async def test_what_was_seen_before_a_gap_proves_nothing(what: Callable[[Harness], Any]) -> None:
    harness = Harness(silent())
    harness.suspects = {JobState.RUNNING: (("job", "gone.1"),)}
    await harness.look(times=6)

    await what(harness)

    await harness.look(times=6)
    assert (harness.condemned, harness.settled) == ([], [])
    await harness.look()
    assert (len(harness.condemned), harness.settled) == (1, [("job", "gone.1")])


async def test_failure_in_one_queue_makes_the_sweeper_start_over_there() -> None:
    harness = Harness(silent(), queues=2)
    await harness.look(times=6)
    harness.broker.answers["audit"] = BrokerUnreachable("redis://", "it went away")
    with pytest.raises(BrokerUnreachable):
        await harness.look(every_s=1.0)
    harness.broker.answers["audit"] = CLEAN

    await harness.look(times=6)

    assert harness.condemned == []


async def test_damage_in_one_place_does_not_protect_other_leases(caplog: pytest.LogCaptureFixture) -> None:
    harness = Harness(silent("first.1"), silent("second.1"))
    harness.suspects = {JobState.IDLE: (("job", "gone.1"),)}
    harness.broker.answers["sweep"] = lambda call: (
        _raise(damage()) if "first.1" in call.words else Swept(1, is_done=True)
    )
    audited = harness.broker.answers["audit"]
    harness.broker.answers["audit"] = lambda call: _raise(damage()) if "RUNNING" in call.words else audited(call)

    with caplog.at_level(logging.ERROR):
        await harness.look(times=7)

    assert [lease for lease, _ in harness.condemned] == ["first.1", "second.1"]
    assert harness.settled == [("job", "gone.1")]
    assert "damaged key" in caplog.text


async def test_queue_that_cannot_be_asked_does_not_protect_leases_of_the_others() -> None:
    harness = Harness(silent(), queues=2)

    def watched(call: Call[Any]) -> tuple[LeaseSeen, ...]:
        return _raise(BrokerUnreachable("redis://", "it is away")) if "queue0" in str(call.words[1]) else (silent(),)

    harness.broker.answers["watch"] = watched
    for _ in range(7):
        with pytest.raises(BrokerUnreachable):
            await harness.look()

    assert harness.condemned == [("other.1", "1700000000000")]


async def test_refusal_other_than_damage_is_an_error() -> None:
    harness = Harness(silent())
    harness.broker.answers["audit"] = BrokerError("no")

    with pytest.raises(BrokerError):
        await harness.look()


async def test_running_job_without_a_lease_for_a_whole_lease_is_marked_lost() -> None:
    harness = Harness()
    harness.suspects = {JobState.RUNNING: (("job", "gone.1"),), JobState.IDLE: (("other", ""),)}

    await harness.look(times=6)
    assert harness.settled == []
    await harness.look()

    assert harness.settled == [("job", "gone.1"), ("other", "")]


@pytest.mark.parametrize("meanwhile", [(), (("job", "next.1"),)], ids=["adopted", "held by another"])
async def test_job_that_was_held_meanwhile_is_suspected_anew(meanwhile: tuple[tuple[str, str], ...]) -> None:
    harness = Harness()
    for suspects in ((("job", "gone.1"),), meanwhile, (("job", "gone.1"),)):
        harness.suspects = {JobState.RUNNING: suspects}
        await harness.look(times=5)

    assert harness.settled == []


async def test_audit_walks_through_an_index_of_many_pages() -> None:
    harness = Harness()
    pages = [Audited(100, 0, (("a", "gone.1"),)), Audited(100, 30, ()), Audited(100, 0, ()), Audited(5, 0, ())]

    def page(call: Call[Any]) -> Audited:
        if call.words[-2] != JobState.RUNNING:
            return CLEAN
        return pages[(int(call.words[-1]) + 30) // 100]

    harness.broker.answers["audit"] = page
    await harness.look(times=8)

    starts = [words[1] for words in harness.broker.words("audit") if words[0] == JobState.RUNNING]
    assert starts == [0, 100, 170, 270, 0, 100, 170, 270]
    await harness.look()
    assert harness.settled == [("a", "gone.1")]


def _raise(error: Exception) -> Any:
    raise error


QUEUE = QueueKeys("oq", "queue0")


async def test_worker_that_knows_of_no_other_sweeper_is_in_charge() -> None:
    harness = Harness()
    assert harness.sweeper.is_in_charge(QUEUE)

    for is_others in (True, False, True):
        harness.is_other_sweeping = is_others
        await harness.look()
        assert harness.sweeper.is_in_charge(QUEUE) is not is_others
