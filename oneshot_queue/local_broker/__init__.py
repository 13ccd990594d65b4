"""The local broker: one Redis server per user, started when first needed, with nothing to set up.

Model
    Everything lives in one private folder, ``$XDG_STATE_HOME/oneshot-queue`` (mode 0700), and the server listens on a
    unix socket in it (mode 0600), never on TCP: whoever reaches the broker runs commands as this user.

    ::

        broker.sock    where the server answers. What the socket says is the truth: its peer is the server's process
        broker.lock    held while somebody starts or stops the server, so that twenty shells start one
        broker.alive   held by the server itself, from before its first instruction until its last
        broker.pid     a note for people and for a server whose socket was removed; never believed by itself
        broker.log     what the server printed since it was started; the log before is broker.log.1
        data/          the server's files, and written_by.json: which server wrote them

    The server is a ``redis-server`` or ``valkey-server`` on PATH, else the one of the extra ``local``, both with an
    append-only file; else fakeredis in a process of its own, which keeps everything in memory and says so.

Why two locks
    A lock that a process holds ends with the process, whatever ended it; a pid file does not, and its number may be
    somebody else's by now. ``broker.alive`` is taken by the starter and *inherited* by the server, so there is no
    moment in which a second server could open the same data. ``broker.lock`` is closed to the server.

Failure table
    =============================================  ==================================  ================================
    What happens                                   Seen as                             Repaired by
    =============================================  ==================================  ================================
    server killed, machine restarted               nobody answers, ``alive`` is free   the next start
    starter killed before the server runs          the same: the lock went with it     the next start
    starter killed after                           the server answers                  nothing to repair
    server hangs, or is just ending                no answer, ``alive`` is held        waiting, then an error
    socket file removed under a running server     the same                            ``stop``, by pid and lock
    only another kind or an older server is found  ``written_by.json`` says otherwise  refused, data untouched
    server dies while starting                     ``alive`` is free again, no answer  an error with its last words
    =============================================  ==================================  ================================

A server started from inside a job is by inheritance a child of that job's worker, and must outlive it. It carries the
variable of ``processes.MARKER``, and a worker asks ``is_local_broker(pid)`` before it ends a process it does not know.
"""

from __future__ import annotations

from oneshot_queue.local_broker.folder import state_folder
from oneshot_queue.local_broker.probe import LocalBroker
from oneshot_queue.local_broker.processes import is_local_broker
from oneshot_queue.local_broker.starter import ensure_running, status
from oneshot_queue.local_broker.stopper import stop

__all__ = ["LocalBroker", "ensure_running", "is_local_broker", "state_folder", "status", "stop"]
