"""The worker dir: a private folder for the files of one worker process that must outlive it.

``<state>/workers/<worker id>/`` holds ``notes`` (the journal), ``lock``, and perhaps a ``spool``. Supervisor and worker
share the lock; once it is free, both are dead, and this user's next supervisor takes the worker dir over.
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

JOURNAL: Final = "notes"
"""File name of the journal, as in v0.1.0, so that journals left by that version are still recovered."""

LOCK: Final = "lock"
_UNFINISHED: Final = ".new"
_FOLDER_FLAGS: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE_FLAGS: Final = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC
_SHORTAGES: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM})


@dataclass(slots=True)
class WorkerDir:
    """The files of one worker process, alive or dead.

    Attributes:
        folder: Where they are; ``None`` if no private folder could be made.
        journal: The open file of its journal.
        lock: The open file whose lock marks the worker dir as in use.
    """

    worker_id: str
    folder: Path | None
    journal: int
    lock: int | None

    @property
    def files(self) -> list[int]:
        """The descriptors that are passed to the worker process."""
        return [self.journal] if self.lock is None else [self.journal, self.lock]

    @property
    def has_spool(self) -> bool:
        """Whether there is a file of spooled results."""
        return self.folder is not None and (self.folder / SPOOL).exists()

    def close(self) -> None:
        """Close and unlock it, so that the next supervisor can take it over."""
        os.close(self.journal)
        if self.lock is not None:
            os.close(self.lock)

    def remove(self) -> None:
        """Delete it; all results of its jobs are recorded."""
        if self.folder is not None:
            _remove_folder(self.folder)
        self.close()


def new_worker_dir(workers_folder: Path | None, worker_id: str) -> WorkerDir:
    """Make the worker dir of a process that is about to be started; without a folder, a journal in memory only.

    Raises:
        OSError: It cannot be made, for example because the disk is full.
    """
    if workers_folder is None:
        return WorkerDir(worker_id, None, os.memfd_create(f"journal-{worker_id}", os.MFD_CLOEXEC), None)
    # It has a temporary name until it is locked, so that no other supervisor considers it abandoned.
    unfinished = workers_folder / f"{worker_id}{_UNFINISHED}"
    unfinished.mkdir(mode=0o700)
    with ExitStack() as undo:
        undo.callback(_remove_folder, unfinished)
        lock = os.open(unfinished / LOCK, _FILE_FLAGS | os.O_CREAT | os.O_EXCL, 0o600)
        undo.callback(os.close, lock)
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        journal = os.open(unfinished / JOURNAL, _FILE_FLAGS | os.O_CREAT | os.O_EXCL, 0o600)
        undo.callback(os.close, journal)
        unfinished.rename(workers_folder / worker_id)
        undo.pop_all()
    return WorkerDir(worker_id, workers_folder / worker_id, journal, lock)


def abandoned(workers_folder: Path) -> Iterator[WorkerDir]:
    """Take over the worker dirs that are not in use, one by one; each stays locked until it is closed.

    Worker dirs that a dead supervisor had not finished making are removed.

    Raises:
        OSError: No file descriptor is free; some worker dirs may not have been examined.
    """
    for name in sorted(os.listdir(workers_folder)):
        if WORKER_ID.fullmatch(name):
            worker_dir = take_over(workers_folder / name)
            if worker_dir is not None:
                yield worker_dir
        elif WORKER_ID.fullmatch(name.removesuffix(_UNFINISHED)):
            _remove_unfinished(workers_folder / name)


def take_over(folder: Path) -> WorkerDir | None:
    """Take over one worker dir; ``None`` if it is in use, was just removed, or is not a worker dir.

    Raises:
        OSError: No file descriptor is free.
    """
    files: list[int] = []
    try:
        with _opened(folder, _FOLDER_FLAGS) as opened:
            files.append(os.open(LOCK, _FILE_FLAGS, dir_fd=opened))
            fcntl.flock(files[0], fcntl.LOCK_EX | fcntl.LOCK_NB)
            files.append(os.open(JOURNAL, _FILE_FLAGS, dir_fd=opened))
            if not stat.S_ISREG(os.fstat(files[1]).st_mode):
                raise FileNotFoundError(JOURNAL)
    except OSError as problem:
        for file in files:
            os.close(file)
        if problem.errno in _SHORTAGES:
            raise
        return None
    lock, journal = files
    return WorkerDir(folder.name, folder, journal, lock)


def private_folder(state_folder: Path) -> Path:
    """The folder of all worker dirs of this user; made if missing.

    Raises:
        OSError: It cannot be made, or others have access to it.
    """
    for folder in (state_folder, state_folder / "workers"):
        folder.parent.mkdir(parents=True, exist_ok=True)
        try:
            folder.mkdir(mode=0o700)
        except FileExistsError:
            pass
        with _opened(folder, _FOLDER_FLAGS) as opened:
            found = os.fstat(opened)
            if found.st_uid != os.geteuid() or found.st_mode & 0o077:
                raise PermissionError(f"{folder} is not private to user {os.geteuid()}")
    return state_folder / "workers"


def _remove_unfinished(folder: Path) -> None:
    try:
        with (
            _opened(folder, _FOLDER_FLAGS) as opened,
            # If its maker is alive and tries to lock it after this, the maker gets an error and makes another one.
            _opened(LOCK, _FILE_FLAGS | os.O_CREAT, opened) as lock,
        ):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _remove_folder(folder)
    except OSError:
        return


def _remove_folder(folder: Path) -> None:
    try:
        for name in (JOURNAL, SPOOL, LOCK):
            (folder / name).unlink(missing_ok=True)
        folder.rmdir()
    except OSError:
        # It contains other files, or is not writable. Without a journal it is ignored from now on.
        return


@contextmanager
def _opened(path: Path | str, flags: int, folder: int | None = None) -> Iterator[int]:
    file = os.open(path, flags, 0o600, dir_fd=folder)
    try:
        yield file
    finally:
        os.close(file)
