"""An announced interrupt makes the worker read what is on record, and is remembered if its job is not held yet."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from oneshot_queue.errors import BrokerUnreachable
from oneshot_queue.workers.worker.services.interrupt_listener import InterruptListener
from oneshot_queue.workers.worker.state.early_interrupts import EarlyInterrupts
from oneshot_queue.workers.worker.state.leases import Lease
from tests.workers.worker.builders import ManualClock, a_held_job, a_session, no_held_jobs


class Harness:
    """A listener on two queues, and what it has read."""

    def __init__(self) -> None:
        self.fetched: list[str] = []
        self.counted: list[Any] = []
        self.is_away = False
        self.held_jobs = no_held_jobs()
        self.early = EarlyInterrupts(ManualClock(), remember_s=30.0)
        self.session = a_session(self, queues=("queue", "other"))
        self.listener = InterruptListener(self.session, self.held_jobs, self, self.early)

    def say(self, message: bytes, *, queue: int = 0) -> None:
        self.listener._subscription.deliver(self.session.leases[queue].keys.control, message)

    async def fetch(self, lease: Lease) -> int:
        if self.is_away:
            raise BrokerUnreachable("redis://", "it is away")
        self.fetched.append(lease.keys.queue)
        return 1

    async def run(self, call: Any) -> None:
        self.counted.append(call)


async def test_interrupts_of_the_announced_queue_are_read_once_however_many_are_announced() -> None:
    harness = Harness()
    harness.held_jobs.add(a_held_job("a"))
    harness.held_jobs.add(a_held_job("b"))

    harness.say(b"a 1")
    harness.say(b"b 1")

    assert await harness.listener.run_once() == 1
    assert (harness.fetched, harness.listener.heard) == (["queue"], 2)


async def test_interrupt_of_another_attempt_is_ignored() -> None:
    harness = Harness()
    harness.held_jobs.add(a_held_job("a"))

    harness.say(b"a 2")

    assert await harness.listener.run_once() == 0
    assert harness.fetched == []


async def test_interrupt_of_a_job_that_is_not_held_yet_is_remembered() -> None:
    harness = Harness()

    harness.say(b"a 1", queue=1)
    await harness.listener.run_once()

    assert harness.fetched == []
    assert harness.early.take("other", "a", 1)
    assert not harness.early.take("other", "a", 1)


async def test_all_queues_are_read_after_messages_may_have_been_missed() -> None:
    harness = Harness()

    harness.listener._subscription.mark_missed()

    assert await harness.listener.run_once() == 2
    assert harness.fetched == ["queue", "other"]


async def test_malformed_messages_are_logged_and_counted(caplog: pytest.LogCaptureFixture) -> None:
    harness = Harness()
    harness.say(b"rm -rf")

    with caplog.at_level(logging.ERROR):
        await harness.listener.run_once()

    assert "are not interrupts" in caplog.text
    assert len(harness.counted) == 1


async def test_outage_is_an_error() -> None:
    harness = Harness()
    harness.is_away = True
    harness.listener._subscription.mark_missed()

    with pytest.raises(BrokerUnreachable):
        await harness.listener.run_once()
