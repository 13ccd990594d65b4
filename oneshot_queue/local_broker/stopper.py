"""Ending the local broker: gracefully, with its data saved, and not before it is really gone."""

from __future__ import annotations

import os
from typing import Final

from oneshot_queue.errors import BrokerRefused, BrokerUnreachable
from oneshot_queue.local_broker.folder import BrokerFolder
from oneshot_queue.local_broker.locks import is_held
from oneshot_queue.local_broker.probe import Conversation
from oneshot_queue.local_broker.processes import ask_to_end, open_noted, wait_gone
from oneshot_queue.local_broker.starter import take_turn
from oneshot_queue.pidfd import pidfd_open

END_TIMEOUT_S: Final = 15.0


def stop() -> bool:
    """End this user's local broker, and return when its process is gone.

    Returns:
        Whether one was running.

    Raises:
        BrokerRefused: The folder is not private, or the server cannot save its data and therefore stays.
        BrokerUnreachable: It does not answer, or does not end in time.
    """
    folder = BrokerFolder.locate()
    with folder.in_use():
        return folder.is_there() and _stop(folder)


def _stop(folder: BrokerFolder) -> bool:
    turn = take_turn(folder, or_answer=False)
    assert isinstance(turn, int)
    try:
        was_running = _shut_down(folder) or _end_unreachable(folder)
        folder.socket.unlink(missing_ok=True)
        folder.pid.unlink(missing_ok=True)
        return was_running
    finally:
        os.close(turn)


def _shut_down(folder: BrokerFolder) -> bool:
    """Ask over the socket; whether anybody was there to ask."""
    try:
        with Conversation(folder) as conversation:
            if not conversation.pid:
                raise BrokerUnreachable(
                    folder.url, "its process is not visible from here", "stop it from where it runs"
                )
            try:
                pidfd = pidfd_open(conversation.pid)
            except ProcessLookupError:
                return False
            try:
                # Whoever answers after the descriptor was opened is the process it means.
                conversation.send("PING")
                conversation.read_line()
                _say_shutdown(folder, conversation)
                if not wait_gone(pidfd, END_TIMEOUT_S):
                    raise _still_there(folder, conversation.pid)
            finally:
                os.close(pidfd)
    except (FileNotFoundError, ConnectionRefusedError, ConnectionResetError, BrokenPipeError, EOFError):
        return False
    return True


def _say_shutdown(folder: BrokerFolder, conversation: Conversation) -> None:
    try:
        conversation.be_patient(END_TIMEOUT_S)
        conversation.send("SHUTDOWN")
        reply = conversation.read_line()
    except (EOFError, ConnectionResetError, BrokenPipeError):
        return  # That is how a server says yes.
    raise BrokerRefused(
        folder.url, f"asked to end, it said {reply.decode(errors='replace')!r}", f"see why in {folder.log}"
    )


def _end_unreachable(folder: BrokerFolder) -> bool:
    """End a server that lives and does not listen, for its socket was removed; whether there was one."""
    if not is_held(folder.alive):
        return False
    pidfd = open_noted(folder)
    if pidfd is None:
        raise BrokerUnreachable(
            folder.url,
            "its server runs, does not listen, and is unknown",
            f"see who has {folder.alive} open, and end it",
        )
    try:
        ask_to_end(pidfd)
        if not wait_gone(pidfd, END_TIMEOUT_S):
            raise _still_there(folder, None)
    finally:
        os.close(pidfd)
    return True


def _still_there(folder: BrokerFolder, pid: int | None) -> BrokerUnreachable:
    who = f"process {pid}" if pid else "its server"
    return BrokerUnreachable(
        folder.url, f"{who} was asked to end and is still there after {END_TIMEOUT_S:g} s", "look at it"
    )
