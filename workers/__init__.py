"""What runs on worker machines: a supervisor (``supervision/``), and worker processes (``worker``) below it.

A worker process is the local engine below, which knows no Redis and is useful alone, and the duties around it
(``services/``). ``admission`` takes claimed jobs on, ``control`` lets them go before they end by themselves, and
``departure`` is how the worker leaves; ``notes`` and ``spool`` are what outlives it. What is done to real processes is
in ``processes/``.

::

    AsyncOrchestrator         how many at once; one heartbeat for all
      +- OneshotTask          one attempt: state machine, events, outcome
           |- spawn           a session of its own, descriptors 0-2, an environment from an allow-list
           |- OutputPipes     bounded chunks, as the loop finds them readable; OutputCapture keeps head and tail
           |- StdinFeeder     writes what the command will take, waits for nobody
           +- Termination     pidfd -> ladder (TERM, CONT, grace, KILL) -> Sweep of what is left -> wait4
                +- ProcessTree    whose is this process? sessions, cookies, pipes, elimination

An outcome is a promise that no process of the attempt is left. Three facts carry it: the leader stays a zombie until
the sweep is done, so its number is nobody else's; this process is a child subreaper, so every orphan comes to it; and
a child leaves the list of our children only when we reap it, so a list without strangers proves that nothing is left.

================================================  =================================  ===================================
What fails                                        Seen as                            Repaired by
================================================  =================================  ===================================
The command cannot be run                         ``SpawnRefused``                   FAILED, ``spawn_error``, 126 or 127
The machine cannot start any process              ``SpawnPostponed``                 tried again, later and later
It ends and leaves processes behind               strays                             TERM, 0.5 s, KILL
It ignores TERM                                   the grace passes                   KILL to the group
It is stopped                                     nothing, with TERM alone           CONT after TERM
A descendant left session, group and parents      a stray without our session        its cookie, its pipes, elimination
Something survives SIGKILL                        30 s pass                          ``survivors``; its slot stays taken
Somebody else holds its output open               no end of file after the exit      1 s, then our end is closed
An observer raises                                an exception in our callback       logged; the task goes on
The orchestrator is cancelled                     ``CancelledError``                 KILL, sweep, reap; it passes on
================================================  =================================  ===================================
"""
