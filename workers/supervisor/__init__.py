"""The supervisor and all it needs: a small synchronous loop that knows processes and no Redis.

::

    oneshot-queue worker ── Supervisor            signals, restarts, the end of dead workers' processes
                              | Child ─ Channel   stop levels and estates down; "opened", "failed", "decided" up
                              |       └ Notes     shared memory: which jobs may have been started, and how they ended
                              +- python -m oneshot_queue.workers.worker     one worker process, in a session of its own
                                    +- its jobs

A worker is a subreaper and so is the supervisor: what a live worker's jobs leave behind comes to that worker, and all
that a dead worker had comes here. Where cgroup v2 may be written to, each worker also has a group that ends with one
write.

=============================================  =================================  =====================================
What fails                                     Seen as                                Repaired by
=============================================  =================================  =====================================
A worker is killed, or crashes                 SIGCHLD, a status that is not 0    its tree ended, its notes handed on,
                                                                                  a replacement
It keeps dying                                 the same, within a minute          1, 2, 4 … 30 s between them
It ends with 0: it was asked to, also by a     SIGCHLD                            an ordinary end: not replaced
signal of an operator, or has nothing to do
It gives up: wrong password, invalid option,   ``Failed`` that needs a person     all end, with its text and code
or no worker has worked yet
It gives up: the broker is out of reach        ``Failed`` that needs nobody       a replacement; the others go on
It does not end when told to kill              3 s pass                           SIGKILL, then as above
It hangs, and an exclusive job's lease ends    its notes are not renewed          the job's group killed, and noted
It is stopped (SIGSTOP) and not let go on      state T for two leases, a minute   SIGKILL, then as above
The supervisor has no descriptor to spare      an error of the kernel             the next look; dead workers are
                                                                                  not decided before
The supervisor is killed                       the end of the channel             workers interrupt jobs, and end
Supervisor and workers are killed              a free lock in the user's folder   the next start: survivors ended by
                                                                                  token, notes handed to an heir
The machine is restarted                       another boot id                    the same, and nothing to end
=============================================  =================================  =====================================

================ ====================================================================================================
supervisor       the loop, and the order of things
post             the place of one worker process, and when the next one takes it
starting         how a worker process is started
child            one worker process
heirs            estates on their way to who decides them
predecessors     what the supervisor before this one left
survivors        processes found by their token, and ended
orphans          what a dead worker's processes become
incarnations     folders and locks
fencing          exclusive jobs whose lease is about to run out
standstills      workers that somebody has stopped
signals          what a person or init asks for
restarts         how long to wait before the next
================ ====================================================================================================
"""
