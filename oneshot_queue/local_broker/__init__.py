"""The local broker: one Redis server per user, started when first needed, with nothing to set up.

Model
    All files are in one private folder, ``$XDG_STATE_HOME/oneshot-queue`` (mode 0700). The server listens on a unix
    socket in it (mode 0600) and never on TCP, because anyone who can reach the broker can run commands as this user.

    ::

        broker.sock    the server's socket. It is the authority: its peer is the server's process
        broker.lock    held while a process starts or stops the server, so that twenty shells start only one
        broker.alive   held by the server itself, from before its first instruction to its end
        broker.pid     for people, and to find a server whose socket was removed; never trusted by itself
        broker.log     the output of the server; the next start moves a large one to broker.log.1
        data/          the server's files, and written_by.json, which names the server that wrote them

    The server is a ``redis-server`` or ``valkey-server`` on PATH, else the one of the ``local`` extra, both with an
    append-only file. Failing that, it is fakeredis in a process of its own, which keeps everything in memory and warns.

Modules
    ``starter`` starts or finds the server and ``stopper`` stops it. ``probe`` identifies the server behind the socket,
    ``servers`` finds the installed servers, ``choice`` and ``written_by`` decide which of them may open the data, and
    ``launch`` starts it detached. ``folder``, ``files``, ``locks`` and ``processes`` serve them all; ``memory`` is the
    in-memory server.

Why two locks
    The kernel releases a lock when its holder ends, however it ended. A pid file stays, and its number may belong to
    another process by now. The starter takes ``broker.alive`` and the server *inherits* it, so a second server can
    never open the same data. The server does not inherit ``broker.lock``.

Failure table
    =============================================  ====================================  ==============================
    What happens                                   Seen as                               Repaired by
    =============================================  ====================================  ==============================
    server killed, machine restarted               no answer, ``alive`` is free          the next start
    starter killed before the server runs          the same: its locks are released      the next start
    starter killed later                           the server answers                    nothing to repair
    server hangs, or is shutting down              no answer, ``alive`` is held          waiting, then an error
    socket file removed under a running server     the same                              ``stop``, by pid and lock
    only an older server or another kind is found  ``written_by.json`` does not match    refused; the data is untouched
    server dies while starting                     ``alive`` is free again, no answer    an error that quotes the log
    =============================================  ====================================  ==============================

A server started from inside a job is a descendant of that job's worker, and must outlive it. Its environment contains
``processes.MARKER``, and a worker calls ``is_local_broker(pid)`` before it ends a process it does not know.
"""

from __future__ import annotations

from oneshot_queue.local_broker.folder import state_folder
from oneshot_queue.local_broker.probe import LocalBroker
from oneshot_queue.local_broker.processes import is_local_broker
from oneshot_queue.local_broker.starter import ensure_running, status
from oneshot_queue.local_broker.stopper import stop

__all__ = ["LocalBroker", "ensure_running", "is_local_broker", "state_folder", "status", "stop"]
