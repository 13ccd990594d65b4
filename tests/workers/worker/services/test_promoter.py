"""A promoter looks about once a second, and again as soon as the next job is due."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from oneshot_queue.errors import BrokerRefused, BrokerUnreachable
from oneshot_queue.store.due import Promoted
from oneshot_queue.store.keys import QueueKeys
from oneshot_queue.workers.worker.services.promoter import PERIOD_S, Promoter
from tests.workers.worker.builders import a_session
from tests.workers.worker.services.broker import ScriptedBroker, damage


class Sweeper:
    """A sweeper that is in charge of these queues."""

    def __init__(self, queues: Iterable[str]) -> None:
        self.queues = set(queues)

    def is_in_charge(self, keys: QueueKeys) -> bool:
        return keys.queue in self.queues


def a_promoter(broker: ScriptedBroker, *, queues: int = 1) -> Promoter:
    queue_names = [f"queue{number}" for number in range(queues)]
    return Promoter(a_session(broker, queues=queue_names), Sweeper(queue_names))


async def test_every_queue_is_asked_and_what_was_promoted_is_counted() -> None:
    counts = iter([3, 0, 4])
    broker = ScriptedBroker(promote=lambda _: Promoted(next(counts), None))

    assert await a_promoter(broker, queues=3).run_once() == 7

    assert [words[1] for _, words in broker.asked] == ["{oq:queue0}", "{oq:queue1}", "{oq:queue2}"]


@pytest.mark.parametrize(
    ("next_s", "wait_s"),
    [
        ((None, None), PERIOD_S),
        ((None, 0.25), 0.25),
        ((0.25, 0.5), 0.25),
        ((60.0, None), PERIOD_S),
        ((0.0, None), 0.0),
    ],
)
async def test_next_look_is_when_the_first_job_is_due_and_never_later_than_a_period(
    next_s: tuple[float | None, float | None], wait_s: float
) -> None:
    answers = iter(next_s)
    promoter = a_promoter(ScriptedBroker(promote=lambda _: Promoted(0, next(answers))), queues=2)

    await promoter.run_once()

    assert promoter._next_s == wait_s


async def test_outage_is_an_error_and_the_next_pass_is_a_period_away() -> None:
    broker = ScriptedBroker(promote=Promoted(0, 0.0))
    promoter = a_promoter(broker)
    await promoter.run_once()

    broker.is_away = True
    with pytest.raises(BrokerUnreachable):
        await promoter.run_once()

    assert promoter._next_s == PERIOD_S


async def test_refusal_of_one_queue_does_not_delay_the_others() -> None:
    answers = iter([damage(), Promoted(1, None)])
    broker = ScriptedBroker(promote=lambda _: next(answers))

    with pytest.raises(BrokerRefused):
        await a_promoter(broker, queues=2).run_once()

    assert len(broker.asked) == 2


async def test_queues_that_another_worker_is_in_charge_of_are_left_to_it() -> None:
    broker = ScriptedBroker(promote=lambda _: Promoted(1, None))
    sweeper = Sweeper(["queue1"])
    promoter = Promoter(a_session(broker, queues=["queue0", "queue1", "queue2"]), sweeper)

    assert await promoter.run_once() == 1
    sweeper.queues.clear()
    assert await promoter.run_once() == 0

    assert [words[1] for _, words in broker.asked] == ["{oq:queue1}"]
