"""How the local broker is stopped: gracefully, with its data saved; returns when its process is gone."""

from __future__ import annotations

import os
from typing import Final

from oneshot_queue.errors import BrokerRefused, BrokerUnreachable
from oneshot_queue.local_broker.folder import BrokerFolder
from oneshot_queue.local_broker.locks import is_held
from oneshot_queue.local_broker.probe import RespClient
from oneshot_queue.local_broker.processes import open_recorded, terminate, wait_for_exit
from oneshot_queue.local_broker.starter import acquire_start_lock
from oneshot_queue.pidfd import pidfd_open

END_TIMEOUT_S: Final = 15.0


def stop() -> bool:
    """Stop this user's local broker, and return when its process is gone.

    Returns:
        Whether one was running.

    Raises:
        BrokerRefused: The folder is not private, or the server cannot save its data and therefore keeps running.
        BrokerUnreachable: It does not answer, or does not stop in time.
    """
    folder = BrokerFolder.locate()
    with folder.reporting_errors():
        return folder.exists() and _stop(folder)


def _stop(folder: BrokerFolder) -> bool:
    lock = acquire_start_lock(folder, or_answer=False)
    assert isinstance(lock, int)
    try:
        was_running = _shut_down(folder) or _terminate_unreachable(folder)
        folder.socket.unlink(missing_ok=True)
        folder.pid.unlink(missing_ok=True)
        return was_running
    finally:
        os.close(lock)


def _shut_down(folder: BrokerFolder) -> bool:
    """Stop the server over its socket, and return whether one was listening."""
    try:
        with RespClient(folder) as client:
            if not client.pid:
                raise BrokerUnreachable(
                    folder.url, "its process is not visible from here", "stop it from where it runs"
                )
            try:
                pidfd = pidfd_open(client.pid)
            except ProcessLookupError:
                return False
            try:
                # An answer after the descriptor was opened proves that the descriptor refers to the server.
                client.send("PING")
                client.read_line()
                _send_shutdown(folder, client)
                if not wait_for_exit(pidfd, END_TIMEOUT_S):
                    raise _still_running(folder, client.pid)
            finally:
                os.close(pidfd)
    except (FileNotFoundError, ConnectionRefusedError, ConnectionResetError, BrokenPipeError, EOFError):
        return False
    return True


def _send_shutdown(folder: BrokerFolder, client: RespClient) -> None:
    try:
        client.set_timeout(END_TIMEOUT_S)
        client.send("SHUTDOWN")
        reply = client.read_line()
    except (EOFError, ConnectionResetError, BrokenPipeError):
        return  # The server closes the connection when it shuts down.
    raise BrokerRefused(folder.url, f"it refused to shut down: {reply.decode(errors='replace')!r}", f"see {folder.log}")


def _terminate_unreachable(folder: BrokerFolder) -> bool:
    """Stop a running server whose socket was removed, and return whether there was one."""
    if not is_held(folder.alive):
        return False
    pidfd = open_recorded(folder)
    if pidfd is None:
        raise BrokerUnreachable(
            folder.url,
            "its server is running, but it does not listen, and its process is unknown",
            f"find the process that has {folder.alive} open, and stop it",
        )
    try:
        terminate(pidfd)
        if not wait_for_exit(pidfd, END_TIMEOUT_S):
            raise _still_running(folder, None)
    finally:
        os.close(pidfd)
    return True


def _still_running(folder: BrokerFolder, pid: int | None) -> BrokerUnreachable:
    who = f"process {pid}" if pid else "its server"
    return BrokerUnreachable(
        folder.url, f"{who} is still running {END_TIMEOUT_S:g} s after it was asked to stop", f"see {folder.log}"
    )
