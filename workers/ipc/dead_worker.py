"""What is known about a dead worker process, so that a live one can record the results of its jobs.

The supervisor reads it from the dead worker's journal, and hands that file to a live worker.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from oneshot_queue.workers.ipc.journal_format import JournalLease, JournalSlot, boot_id, read_journal_file

SPOOL: Final = "spool"
"""Name of the file in a worker dir that holds results which Redis has not accepted yet."""


@dataclass(frozen=True, slots=True)
class DeadWorker:
    """A worker process that died. Of its jobs' processes, only the survivors are left.

    Attributes:
        leases: Its leases, each with its queue.
        slots: The jobs it may have started and whose results are not recorded.
        is_complete: Whether a job that it held and that has no slot here was certainly never started. ``False`` for a
            damaged journal, and for one of an earlier boot: some of its entries may not have reached the disk.
        folder: Its worker dir; ``None`` if it had none.
        survivors: Ids of processes that SIGKILL did not end.
    """

    worker_id: str
    leases: tuple[JournalLease, ...]
    slots: tuple[JournalSlot, ...]
    is_complete: bool
    folder: Path | None
    survivors: Sequence[int]

    @property
    def spool(self) -> Path | None:
        """Where results that Redis has not accepted may be; ``None`` without a worker dir."""
        return None if self.folder is None else self.folder / SPOOL


def read_dead_worker(file: int, folder: Path | None, survivors: Sequence[int] = ()) -> DeadWorker:
    """Read a dead worker from its journal.

    Raises:
        MalformedData: The file is not a valid journal.
        OSError: The file cannot be read.
    """
    found = read_journal_file(file)
    is_complete = found.boot_id == boot_id() and not found.damaged
    return DeadWorker(found.worker_id, found.leases, found.slots, is_complete, folder, survivors)
