"""A worker process' end of the channel to its supervisor."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import anyio

from oneshot_queue.errors import MalformedData
from oneshot_queue.workers.ipc.channel import Channel
from oneshot_queue.workers.ipc.dead_worker import DeadWorker, OnDeadWorker, read_dead_worker
from oneshot_queue.workers.ipc.messages import GaveUp, Opened, Recover, Recovered, RecoveryDeclined, Stage, Stop
from oneshot_queue.workers.worker.stop_state import StopState

logger: Final = logging.getLogger(__name__)


class SupervisorLink:
    """Hears what the supervisor wants, and tells it what it has to know.

    Attributes:
        on_estate: Takes on the estates of workers that died; what it does not take is tried again later.
    """

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self.on_dead_worker: OnDeadWorker | None = None

    async def run(self, stopping: StopState) -> None:
        """Listen until the supervisor is gone. Then no job may go on: nobody would end it if this process died too."""
        while True:
            await anyio.wait_readable(self._channel.fileno())
            try:
                received = self._channel.receive()
            except BlockingIOError:
                continue
            if received is None:
                logger.error("the supervisor is gone; ending all jobs and this worker")
                stopping.because = "lost its supervisor"
                stopping.reach(Stage.INTERRUPTING)
                return
            message, files = received
            try:
                match message:
                    case Stop(stage):
                        stopping.reach(stage)
                    case Recover(worker_id):
                        dead_worker = _dead_worker_of(message, files)
                        if dead_worker is None or self.on_dead_worker is None or not self.on_dead_worker(dead_worker):
                            self._channel.send(RecoveryDeclined(worker_id))
            finally:
                for file in files:
                    os.close(file)

    def opened(self) -> None:
        """Say that the worker is registered, and takes jobs."""
        self._channel.send(Opened())

    def failed(self, code: int, text: str, *, needs_person: bool) -> bool:
        """Say why the worker gives up; whether anybody heard it."""
        return self._channel.send(GaveUp(code, text, needs_person))

    def decided(self, worker_id: str) -> None:
        """Say that an estate is no more: all its jobs are decided, and that is on record."""
        self._channel.send(Recovered(worker_id))


def _dead_worker_of(message: Recover, files: Sequence[int]) -> DeadWorker | None:
    if not files:
        logger.error("no descriptor is free for the estate of worker %s", message.worker_id)
        return None
    try:
        folder = None if message.folder is None else Path(message.folder)
        return read_dead_worker(files[0], folder, message.survivors)
    except (MalformedData, OSError) as problem:
        logger.error("the estate of worker %s cannot be read: %s", message.worker_id, problem)
        return None
