"""A worker process' end of the channel to its supervisor."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Final

import anyio

from oneshot_queue.errors import MalformedData
from workers.control import Channel, Decided, Failed, Inherit, Opened, Stage, Stop
from workers.estates import OnEstate, read_estate
from workers.stopping import Stopping

logger: Final = logging.getLogger(__name__)


class SupervisorLink:
    """Hears what the supervisor wants, and tells it what it has to know.

    Attributes:
        on_estate: Takes on the estates of workers that died; without it they wait for another worker.
    """

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self.on_estate: OnEstate | None = None

    async def run(self, stopping: Stopping) -> None:
        """Listen until the supervisor is gone. Then no job may go on: nobody would end it if this process died too."""
        while True:
            await anyio.wait_readable(self._channel.fileno())
            try:
                received = self._channel.receive()
            except BlockingIOError:
                continue
            if received is None:
                logger.error("the supervisor is gone; ending all jobs and this worker")
                stopping.reach(Stage.INTERRUPTING)
                return
            message, files = received
            try:
                match message:
                    case Stop(stage):
                        stopping.reach(stage)
                    case Inherit(folder=folder):
                        self._inherit(files[0], folder)
            finally:
                for file in files:
                    os.close(file)

    def opened(self) -> None:
        """Say that the worker is registered, and takes jobs."""
        self._channel.send(Opened())

    def failed(self, code: int, text: str, *, needs_person: bool) -> bool:
        """Say why the worker gives up; whether anybody heard it."""
        return self._channel.send(Failed(code, text, needs_person))

    def decided(self, worker_id: str) -> None:
        """Say that an estate is no more: all its jobs are decided, and that is on record."""
        self._channel.send(Decided(worker_id))

    def _inherit(self, notes: int, folder: str | None) -> None:
        if self.on_estate is None:
            return
        try:
            estate = read_estate(notes, None if folder is None else Path(folder))
        except (MalformedData, OSError) as problem:
            logger.error("an estate cannot be read: %s", problem)
            return
        self.on_estate(estate)
