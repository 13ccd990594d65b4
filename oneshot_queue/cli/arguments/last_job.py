"""Which job ``last`` means: the job that this user last enqueued on a broker from this machine.

Each broker has a small file under ``$XDG_STATE_HOME/oneshot-queue/last``. Files and folder are private to the user.
Files are replaced atomically: if two shells enqueue at once, one of the two jobs is ``last``.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from oneshot_queue.cli.arguments.destination import Destination
from oneshot_queue.cli.output.terminal import print_message
from oneshot_queue.errors import JobNotFound
from oneshot_queue.local_broker.files import replace_file

if TYPE_CHECKING:
    from oneshot_queue.client.sync_queue import SyncJob, SyncQueue

LAST: Final = "last"


class NoLastJob(JobNotFound):
    """``last`` was used before anything was enqueued."""

    def __str__(self) -> str:
        return "no last job: nothing was enqueued on this broker from this machine"


def remember(destination: Destination, job_id: str, queue: str) -> None:
    """Store which job ``last`` means; if that fails, only print a message."""
    file = _file(destination)
    try:
        file.parent.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        file.parent.mkdir(mode=0o700, exist_ok=True)
        replace_file(file, json.dumps({"id": job_id, "queue": queue}).encode())
    except OSError as problem:
        print_message(f"cannot remember {job_id} as the last job: {problem}")


def recall(destination: Destination) -> tuple[str, str]:
    """The id and the queue of the last job.

    Raises:
        NoLastJob: None is stored.
    """
    try:
        known = json.loads(_file(destination).read_text())
        return str(known["id"]), str(known["queue"])
    except (OSError, ValueError, KeyError, TypeError):
        raise NoLastJob(LAST, []) from None


def find_job(opened: SyncQueue, destination: Destination, word: str, queue: str | None) -> SyncJob:
    """Find the job of an ``ID`` argument: an id, a prefix, or ``last``.

    Raises:
        JobNotFound, AmbiguousJobId: No job matches, or several do.
    """
    if word == LAST:
        word, queue = recall(destination)
    return opened.get(word, queue=queue)


def _file(destination: Destination) -> Path:
    from oneshot_queue.local_broker import state_folder

    parts = urlsplit(destination.url)
    # Without user and password: a changed password does not make it another broker.
    place = (parts.scheme, parts.netloc.rpartition("@")[2], parts.path, parts.query, destination.settings.namespace)
    return state_folder() / "last" / hashlib.sha256("\0".join(place).encode()).hexdigest()[:32]
