"""The worker's end of the channel to its supervisor."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Protocol

import anyio

from oneshot_queue.errors import MalformedData
from oneshot_queue.workers.ipc.channel import Channel
from oneshot_queue.workers.ipc.dead_worker import DeadWorker, read_dead_worker
from oneshot_queue.workers.ipc.messages import GaveUp, Opened, Recover, Recovered, RecoveryDeclined, Stage, Stop

logger: Final = logging.getLogger(__name__)

MAX_DEAD_WORKERS: Final = 1_000
"""Dead workers that may wait for recovery here; the supervisor keeps any others."""


class Stoppable(Protocol):
    """Stops this worker."""

    def reach(self, stage: Stage) -> None:
        """Stop at least as urgently as this."""

    def lose_supervisor(self) -> None:
        """Stop because the supervisor is gone."""


class SupervisorLink:
    """Receives the supervisor's messages, and sends it this worker's.

    Attributes:
        dead_workers: The dead workers to recover, in the order in which the supervisor named them.
    """

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._received, self.dead_workers = anyio.create_memory_object_stream[DeadWorker](MAX_DEAD_WORKERS)

    async def run(self, stopping: Stoppable) -> None:
        """Receive until the supervisor is gone."""
        while True:
            await anyio.wait_readable(self._channel.fileno())
            try:
                received = self._channel.receive()
            except BlockingIOError:
                continue
            if received is None:
                stopping.lose_supervisor()
                return
            message, files = received
            try:
                match message:
                    case Stop(stage):
                        stopping.reach(stage)
                    case Recover(worker_id):
                        if not self._accept(message, files):
                            self._channel.send(RecoveryDeclined(worker_id))
            finally:
                for file in files:
                    os.close(file)

    def close(self) -> None:
        """Offer no more dead workers."""
        self._received.close()
        self.dead_workers.close()

    def opened(self) -> None:
        """Report that this worker is registered and claims jobs."""
        self._channel.send(Opened())

    def failed(self, code: int, text: str, *, needs_person: bool) -> bool:
        """Report why this worker gives up; returns whether the message was sent."""
        return self._channel.send(GaveUp(code, text, needs_person))

    def recovered(self, worker_id: str) -> None:
        """Report that all jobs of a dead worker are settled and recorded."""
        self._channel.send(Recovered(worker_id))

    def _accept(self, message: Recover, files: Sequence[int]) -> bool:
        """Queue a dead worker for recovery; one that cannot be read or queued stays with the supervisor."""
        dead_worker = _dead_worker_of(message, files)
        if dead_worker is None:
            return False
        try:
            self._received.send_nowait(dead_worker)
        except anyio.WouldBlock:
            logger.error("too many dead workers to recover; worker %s waits", dead_worker.worker_id)
            return False
        return True


def _dead_worker_of(message: Recover, files: Sequence[int]) -> DeadWorker | None:
    if not files:
        logger.error("no file descriptor is free to recover worker %s", message.worker_id)
        return None
    try:
        folder = None if message.folder is None else Path(message.folder)
        return read_dead_worker(files[0], folder, message.survivors)
    except (MalformedData, OSError) as problem:
        logger.error("cannot read the journal of dead worker %s: %s", message.worker_id, problem)
        return None
