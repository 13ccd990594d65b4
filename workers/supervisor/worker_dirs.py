"""One life of a worker process, as it outlives itself: a private folder with its notes, and a lock that ends with it.

``<state>/workers/<worker id>/`` holds ``notes`` and ``lock``, and perhaps a ``spool``. Supervisor and worker share the
lock; once it is free, both are dead, and the next supervisor of this user takes over what they left.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from oneshot_queue.workers.ipc.dead_worker import SPOOL
from oneshot_queue.workers.ipc.journal_format import WORKER_ID

NOTES: Final = "notes"
LOCK: Final = "lock"
_UNBORN: Final = ".new"
_FOLDER_FLAGS: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE_FLAGS: Final = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC
_SHORTAGES: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM})


@dataclass(slots=True)
class WorkerDir:
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
            _remove_folder(self.folder)
        self.close()


def new_worker_dir(workers_folder: Path | None, worker_id: str) -> WorkerDir:
    """Make a place for a worker process that is about to be started; without a folder, in memory only.

    Raises:
        OSError: There is no room.
    """
    if workers_folder is None:
        return WorkerDir(worker_id, None, os.memfd_create(f"notes-{worker_id}", os.MFD_CLOEXEC), None)
    # Under another name until it is locked: it must not look abandoned before it has begun.
    unborn = workers_folder / f"{worker_id}{_UNBORN}"
    unborn.mkdir(mode=0o700)
    with ExitStack() as undoing:
        undoing.callback(_remove_folder, unborn)
        lock = os.open(unborn / LOCK, _FILE_FLAGS | os.O_CREAT | os.O_EXCL, 0o600)
        undoing.callback(os.close, lock)
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        notes = os.open(unborn / NOTES, _FILE_FLAGS | os.O_CREAT | os.O_EXCL, 0o600)
        undoing.callback(os.close, notes)
        unborn.rename(workers_folder / worker_id)
        undoing.pop_all()
    return WorkerDir(worker_id, workers_folder / worker_id, notes, lock)


def abandoned(workers_folder: Path) -> Iterator[WorkerDir]:
    """Take over the incarnations that nobody looks after, one by one. They stay locked until they are closed.

    What was only begun, by somebody who is dead, is removed.

    Raises:
        OSError: There is no descriptor to spare, so that nobody knows what else there is.
    """
    for name in sorted(os.listdir(workers_folder)):
        if WORKER_ID.fullmatch(name):
            worker_dir = taken_over(workers_folder / name)
            if worker_dir is not None:
                yield worker_dir
        elif WORKER_ID.fullmatch(name.removesuffix(_UNBORN)):
            _remove_unborn(workers_folder / name)


def taken_over(folder: Path) -> WorkerDir | None:
    """Take over one incarnation; ``None`` if somebody looks after it, has just removed it, or it is none of ours.

    Raises:
        OSError: There is no descriptor to spare.
    """
    files: list[int] = []
    try:
        with _opened(folder, _FOLDER_FLAGS) as place:
            files.append(os.open(LOCK, _FILE_FLAGS, dir_fd=place))
            fcntl.flock(files[0], fcntl.LOCK_EX | fcntl.LOCK_NB)
            files.append(os.open(NOTES, _FILE_FLAGS, dir_fd=place))
            if not stat.S_ISREG(os.fstat(files[1]).st_mode):
                raise FileNotFoundError(NOTES)
    except OSError as problem:
        for file in files:
            os.close(file)
        if problem.errno in _SHORTAGES:
            raise
        return None
    lock, notes = files
    return WorkerDir(folder.name, folder, notes, lock)


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


def _remove_unborn(folder: Path) -> None:
    try:
        with (
            _opened(folder, _FOLDER_FLAGS) as place,
            # Whoever makes it just now and comes second gets an error, and tries again.
            _opened(LOCK, _FILE_FLAGS | os.O_CREAT, place) as lock,
        ):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _remove_folder(folder)
    except OSError:
        return


def _remove_folder(folder: Path) -> None:
    try:
        for name in (NOTES, SPOOL, LOCK):
            (folder / name).unlink(missing_ok=True)
        folder.rmdir()
    except OSError:
        # Somebody put something there. Without notes it means nothing to anybody.
        return


@contextmanager
def _opened(path: Path | str, flags: int, place: int | None = None) -> Iterator[int]:
    file = os.open(path, flags, 0o600, dir_fd=place)
    try:
        yield file
    finally:
        os.close(file)
