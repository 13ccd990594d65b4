"""The supervisor: a small synchronous loop that manages processes, without Redis and without an event loop.

::

    oneshot-queue worker -- Supervisor            signals, restarts, killing what dead workers leave
                              | Child - Channel   down: stop stages, dead workers; up: opened, gave up, recovered
                              |       ` Journal   shared memory: the jobs that may have been started, and exit statuses
                              +- python -m oneshot_queue.workers.worker     one worker process, in its own session
                                    +- its jobs

Workers and supervisor are subreapers: the orphans of a live worker's jobs become children of that worker, and the
descendants of a dead worker become children of the supervisor. Where cgroup v2 is writable, each worker also has its
own control group, which is killed with one write.

=============================================  ================================  ======================================
What fails                                     Seen as                           Repaired by
=============================================  ================================  ======================================
A worker is killed or crashes                  SIGCHLD, an exit code other       its processes killed, its journal
                                               than 0                            given to a live worker, a replacement
It keeps dying                                 the same, within a minute         delays of 1, 2, 4 ... 30 s
It exits with 0: it was asked to, perhaps by   SIGCHLD                           nothing: it is not replaced
a signal of an operator, or has no more to do
It gives up: wrong password, invalid option,   ``GaveUp``, ``needs_person``, or  all finish their jobs and exit, with
or no worker was ready yet                     the first message of any worker   its error and exit code
It gives up later: the broker is unreachable   ``GaveUp``                        a replacement; the others go on
It does not exit when told to kill             3 s pass                          SIGKILL, then as above
It hangs, and the lease of an exclusive job    the journal shows no renewal      the job's processes killed, its slot
is about to expire                                                               marked as fenced
It is stopped (SIGSTOP) and not continued      state T for two lease lengths,    SIGKILL, then as above
                                               at least a minute
The supervisor has no free file descriptor     an error of the kernel            the next pass; no dead worker is
                                                                                 recovered before that
The supervisor is killed                       the channel is closed             workers interrupt their jobs, and exit
Supervisor and workers are killed              an unlocked worker dir            the next start: leftover processes
                                                                                 ended by token, journals recovered
The machine is restarted                       another boot id                   the same, without processes to kill
=============================================  ================================  ======================================

================ =======================================================================================================
supervisor       the loop, and the order of its steps
replica          the place of one worker process, and when it is replaced
starting         how a worker process is started
child            one worker process
recovery_queue   dead workers, and which live worker recovers each
leftovers        what earlier supervisors left
survivors        finds processes by token, and ends them
orphans          processes inherited from dead workers
worker_dirs      worker dirs and their locks
fencing          exclusive jobs whose lease is about to expire
stopped_workers  workers that were stopped by a signal
signals          the signals of people and of init
restart_backoff  how long to wait before a replacement
================ =======================================================================================================
"""
