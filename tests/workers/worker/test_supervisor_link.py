"""The link passes on the supervisor's requests, and declines dead workers that it cannot recover."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import anyio
import pytest

from oneshot_queue.workers.ipc.channel import Channel
from oneshot_queue.workers.ipc.journal import Journal
from oneshot_queue.workers.ipc.messages import Message, Recover, Recovered, RecoveryDeclined, Stage, Stop
from oneshot_queue.workers.worker.stop_state import StopState
from oneshot_queue.workers.worker.supervisor_link import SupervisorLink
from tests.support.waiting import eventually

DEAD = "0123456789abcdef0123456789abcdef"


class Harness:
    """Both ends of a channel, and the link at one of them."""

    def __init__(self, supervisor: Channel, link: SupervisorLink) -> None:
        self.supervisor = supervisor
        self.link = link
        self.stopping = StopState()

    async def received(self) -> Message:
        """The next message that the supervisor receives."""
        await anyio.wait_readable(self.supervisor.fileno())
        received = self.supervisor.receive()
        assert received is not None
        return received[0]


@asynccontextmanager
async def a_harness() -> AsyncIterator[Harness]:
    own, other = Channel.pair()
    harness = Harness(own, SupervisorLink(other))
    try:
        async with anyio.create_task_group() as group:
            group.start_soon(harness.link.run, harness.stopping)
            yield harness
            group.cancel_scope.cancel()
    finally:
        harness.link.close()
        own.close()
        other.close()


@contextmanager
def a_journal(folder: Path) -> Iterator[int]:
    file = os.open(folder / "journal", os.O_RDWR | os.O_CREAT, 0o600)
    Journal.lay_out(file, worker_id=DEAD, namespace="oq", broker="", cgroup="", slots=1, leases=1)
    yield file
    os.close(file)


async def test_requests_to_stop_are_passed_on() -> None:
    async with a_harness() as harness:
        harness.supervisor.send(Stop(Stage.DRAINING))

        await harness.stopping.wait_for(Stage.DRAINING)

    assert not harness.stopping.is_orphaned


async def test_end_of_the_channel_is_the_loss_of_the_supervisor() -> None:
    async with a_harness() as harness:
        harness.supervisor.close()

        await harness.stopping.wait_for(Stage.INTERRUPTING)

    assert harness.stopping.is_orphaned


async def test_dead_worker_is_offered_and_reported_as_recovered(tmp_path: Path) -> None:
    async with a_harness() as harness:
        with a_journal(tmp_path) as file:
            harness.supervisor.send(Recover(DEAD, None, [17]), [file])

        dead_worker = await harness.link.dead_workers.receive()
        harness.link.recovered(dead_worker.worker_id)

        assert (dead_worker.worker_id, list(dead_worker.survivors)) == (DEAD, [17])
        assert await harness.received() == Recovered(DEAD)


async def test_dead_worker_without_a_journal_is_declined(caplog: pytest.LogCaptureFixture) -> None:
    async with a_harness() as harness:
        harness.supervisor.send(Recover(DEAD, None, []))

        assert await harness.received() == RecoveryDeclined(DEAD)

    await eventually(lambda: caplog.text, what="a log record")
    assert "no file descriptor is free to recover worker" in caplog.text
