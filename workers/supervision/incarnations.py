"""One life of a worker process, as it outlives itself: a private folder with its notes, and a lock that ends with it.

``<state>/workers/<worker id>/`` holds ``notes`` and ``lock``, and perhaps a ``spool``. Supervisor and worker share the
lock; once it is free, both are dead, and the next supervisor of this user takes over what they left.
"""

from __future__ import annotations

import fcntl
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from workers.estates import SPOOL

NOTES: Final = "notes"
LOCK: Final = "lock"
_WORKER_ID: Final = re.compile(r"[0-9a-f]{32}")
_FOLDER_FLAGS: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE_FLAGS: Final = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(slots=True)
class Incarnation:
    """One worker process, alive or dead.

    Attributes:
        folder: Where its files are; ``None`` if no private folder could be had.
        notes: The open file of its notes.
        lock: The open file whose lock says that somebody looks after it.
    """

    worker_id: str
    folder: Path | None
    notes: int
    lock: int | None

    @property
    def files(self) -> list[int]:
        """What a worker process gets of it."""
        return [self.notes] if self.lock is None else [self.notes, self.lock]

    @property
    def has_spool(self) -> bool:
        """Whether ends of jobs may wait in its folder."""
        return self.folder is not None and (self.folder / SPOOL).exists()

    def close(self) -> None:
        """Leave it to the next supervisor."""
        os.close(self.notes)
        if self.lock is not None:
            os.close(self.lock)

    def remove(self) -> None:
        """Remove it for ever: everything in it is decided."""
        if self.folder is not None:
            try:
                for name in (NOTES, SPOOL, LOCK):
                    (self.folder / name).unlink(missing_ok=True)
                self.folder.rmdir()
            except OSError:
                # Somebody put something there. Without notes it means nothing to anybody.
                pass
        self.close()


def new_incarnation(workers_folder: Path | None, worker_id: str) -> Incarnation:
    """Make a place for a worker process that is about to be started; without a folder, in memory only.

    Raises:
        OSError: There is no room.
    """
    if workers_folder is None:
        return Incarnation(worker_id, None, os.memfd_create(f"notes-{worker_id}", os.MFD_CLOEXEC), None)
    # Under another name until it is locked: it must not look abandoned before it has begun.
    unborn = workers_folder / f"{worker_id}.new"
    unborn.mkdir(mode=0o700)
    lock = os.open(unborn / LOCK, _FILE_FLAGS | os.O_CREAT | os.O_EXCL, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    notes = os.open(unborn / NOTES, _FILE_FLAGS | os.O_CREAT | os.O_EXCL, 0o600)
    unborn.rename(workers_folder / worker_id)
    return Incarnation(worker_id, workers_folder / worker_id, notes, lock)


def abandoned(workers_folder: Path) -> Iterator[Incarnation]:
    """Take over the incarnations that nobody looks after, one by one. They stay locked until they are closed."""
    for name in sorted(os.listdir(workers_folder)):
        if not _WORKER_ID.fullmatch(name):
            continue
        folder = workers_folder / name
        lock = notes = None
        try:
            with _opened(folder, _FOLDER_FLAGS) as place:
                lock = os.open(LOCK, _FILE_FLAGS, dir_fd=place)
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                notes = os.open(NOTES, _FILE_FLAGS, dir_fd=place)
                if not stat.S_ISREG(os.fstat(notes).st_mode):
                    raise FileNotFoundError(NOTES)
        except OSError:
            # Somebody looks after it, has just removed it, or it is none of ours.
            for file in (lock, notes):
                if file is not None:
                    os.close(file)
            continue
        yield Incarnation(name, folder, notes, lock)


def private_folder(state_folder: Path) -> Path:
    """The folder of all incarnations of this user, made if it is not there.

    Raises:
        OSError: It cannot be made, or is not this user's alone.
    """
    for folder in (state_folder, state_folder / "workers"):
        folder.parent.mkdir(parents=True, exist_ok=True)
        try:
            folder.mkdir(mode=0o700)
        except FileExistsError:
            pass
        with _opened(folder, _FOLDER_FLAGS) as place:
            found = os.fstat(place)
            if found.st_uid != os.geteuid() or found.st_mode & 0o077:
                raise PermissionError(f"{folder} is not private to user {os.geteuid()}")
    return state_folder / "workers"


@contextmanager
def _opened(path: Path, flags: int) -> Iterator[int]:
    file = os.open(path, flags)
    try:
        yield file
    finally:
        os.close(file)
