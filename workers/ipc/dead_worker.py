"""What a worker process leaves behind: the jobs that somebody else has to decide now that it is dead.

The notes are the estate: the supervisor hands the file to a live worker.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from oneshot_queue.errors import MalformedData
from oneshot_queue.workers.ipc.journal_format import JournalLease, Slot, boot_id, max_bytes, read_journal

SPOOL: Final = "spool"
"""The file of a worker's folder in which ends of jobs wait that Redis has not taken yet."""


@dataclass(frozen=True, slots=True)
class DeadWorker:
    """What is known of the jobs of a worker that died. Of their processes nothing is left but the survivors.

    Attributes:
        leases: Its leases, with the queue each of them belongs to.
        slots: The jobs it may have started and whose end is not on record.
        is_complete: Whether what it held and is not named here was never started. Notes of before the machine's last
            start may never have reached the disk, or not all of them.
        folder: Where its files are; ``None`` if it had none.
        survivors: The process ids of what SIGKILL did not end.
    """

    worker_id: str
    leases: tuple[JournalLease, ...]
    slots: tuple[Slot, ...]
    is_complete: bool
    folder: Path | None
    survivors: Sequence[int]

    @property
    def spool(self) -> Path | None:
        """Where the ends of its jobs may lie that Redis has not taken."""
        return None if self.folder is None else self.folder / SPOOL


OnDeadWorker = Callable[[DeadWorker], bool]
"""Takes on the decision about an estate, and says whether it does; whoever does calls ``SupervisorLink.decided`` once
all of it is on record."""


def read_dead_worker(file: int, folder: Path | None, survivors: Sequence[int] = ()) -> DeadWorker:
    """Read an estate from the notes of a worker that is dead.

    Raises:
        MalformedData: They are no notes.
        OSError: They cannot be read.
    """
    size = os.fstat(file).st_size
    if size > max_bytes():
        raise MalformedData("notes", f"have {size} bytes")
    found = read_journal(os.pread(file, size, 0))
    is_complete = found.boot_id == boot_id() and not found.damaged
    return DeadWorker(found.worker_id, found.leases, found.slots, is_complete, folder, survivors)
