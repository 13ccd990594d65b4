"""What ``last`` stands for: the job this user last enqueued on a broker from this machine.

One small file per broker under ``$XDG_STATE_HOME/oneshot-queue/last``, private like the folder it lies in, and replaced
whole, so that two shells at once leave one of their two answers and never a mixture.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from oneshot_queue.cli.arguments.destination import Destination
from oneshot_queue.cli.output.terminal import say
from oneshot_queue.errors import JobNotFound
from oneshot_queue.local_broker.files import replace_file

if TYPE_CHECKING:
    from oneshot_queue.client.sync_queue import SyncJob, SyncQueue

LAST: Final = "last"


class NothingRemembered(JobNotFound):
    """``last`` was asked for before anything was enqueued."""

    def __str__(self) -> str:
        return "there is no last job: you have enqueued nothing on this broker from this machine"


def remember(broker: Destination, job_id: str, queue: str) -> None:
    """Write down which job ``last`` is now; a failure to do so is said, and harms nothing else."""
    file = _file(broker)
    try:
        file.parent.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        file.parent.mkdir(mode=0o700, exist_ok=True)
        replace_file(file, json.dumps({"id": job_id, "queue": queue}).encode())
    except OSError as problem:
        say(f"cannot write down that {job_id} is your last job: {problem}")


def recall(broker: Destination) -> tuple[str, str]:
    """The id and the queue of the last job.

    Raises:
        NothingRemembered: There is none.
    """
    try:
        known = json.loads(_file(broker).read_text())
        return str(known["id"]), str(known["queue"])
    except (OSError, ValueError, KeyError, TypeError):
        raise NothingRemembered(LAST, []) from None


def named(opened: SyncQueue, broker: Destination, word: str, queue: str | None) -> SyncJob:
    """Find the job that a word on the command line means: an id, a prefix, or ``last``.

    Raises:
        JobNotFound, AmbiguousJobId: No job fits, or several do.
    """
    if word == LAST:
        word, queue = recall(broker)
    return opened.get(word, queue=queue)


def _file(broker: Destination) -> Path:
    from oneshot_queue.local_broker import state_folder

    parts = urlsplit(broker.url)
    # Without user and password: who changes a password still means the same broker.
    place = (parts.scheme, parts.netloc.rpartition("@")[2], parts.path, parts.query, broker.settings.namespace)
    return state_folder() / "last" / hashlib.sha256("\0".join(place).encode()).hexdigest()[:32]
