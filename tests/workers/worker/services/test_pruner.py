"""A pruner removes finished jobs until none is left to remove, and logs an outage once."""

from __future__ import annotations

import logging

import anyio
import pytest

from oneshot_queue.errors import BrokerRefused
from oneshot_queue.workers.worker.services import pruner as pruner_module
from oneshot_queue.workers.worker.services.pruner import Pruner
from tests.support.waiting import eventually
from tests.workers.worker.builders import a_session
from tests.workers.worker.services.broker import ScriptedBroker


async def test_every_queue_is_pruned_until_nothing_is_left() -> None:
    counts = iter([100, 7, 0, 0, 3, 0])
    broker = ScriptedBroker(prune=lambda _: next(counts))

    assert await Pruner(a_session(broker, queues=["a", "b", "c"])).run_once() == 110

    assert [words[1] for _, words in broker.asked] == ["{oq:a}"] * 3 + ["{oq:b}"] + ["{oq:c}"] * 2


async def test_a_refusal_is_logged_once_and_not_every_minute(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pruner_module, "PERIOD_S", 0.0)
    broker = ScriptedBroker(prune=BrokerRefused("redis://", "it says no", "ask why"))

    with caplog.at_level(logging.INFO):
        async with anyio.create_task_group() as group:
            group.start_soon(Pruner(a_session(broker)).run)
            await eventually(lambda: len(broker.asked), lambda asked: asked > 20, what="twenty failures")
            group.cancel_scope.cancel()

    assert [record.getMessage().split(":")[0] for record in caplog.records] == ["cannot prune finished jobs"]
