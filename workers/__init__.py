"""What runs on worker machines: a supervisor, its worker processes, and the local engine that runs commands.

================ ====================================================================================================
main             the library's only door into this package: ``run_workers``, ``find_leftovers``
supervisor/      starts, restarts and stops worker processes, and ends the processes of a dead worker
worker/          one worker process: claims jobs from Redis, runs them on the engine, records their results
ipc/             what supervisor and worker share: options, messages, the journal of started jobs
orchestrator     the face of the engine: ``AsyncOrchestrator`` and ``run_commands``
task             one attempt at one command: ``OneshotTask``
engine/          the parts of the engine
processes/       real processes, from their start to the proof that none is left
================ ====================================================================================================

``orchestrator``, ``task``, ``engine`` and ``processes`` know no Redis. They are useful without a queue::

    from oneshot_queue import AsyncOrchestrator, OneshotTask, run_commands

::

    AsyncOrchestrator         limits how many tasks run at once; one heartbeat for all
      +- OneshotTask          one attempt: state machine, events, outcome
           |- spawn           own session, descriptors 0-2, environment from an allow-list
           |- OutputPipes     reads bounded chunks when the event loop finds them; OutputCapture keeps head and tail
           |- StdinFeeder     writes the input without blocking
           +- Termination     pidfd -> TERM, CONT, grace period, KILL -> Sweep of strays -> wait4
                +- ProcessTree    attributes processes to attempts: session, cookie, pipes, elimination

An outcome promises that no process of the attempt is left. Three facts support the promise:

- The leader stays a zombie until the sweep is over, so its process id and group id are not reused.
- This process is a child subreaper, so every orphan becomes its child.
- A child leaves the list of our children only when we reap it. If the list holds no stray, nothing is left.

================================================  =================================  ===================================
Failure                                           Seen as                            Handled by
================================================  =================================  ===================================
The command cannot be run                         ``SpawnRefused``                   FAILED, ``spawn_error``, 126 or 127
The machine cannot start a process now            ``SpawnPostponed``                 retried with growing delays
The command exits and leaves processes behind     strays                             TERM, 0.5 s, KILL
The command ignores TERM                          the grace period passes            KILL to the group
The command is stopped                            TERM has no effect                 CONT after TERM
A descendant left session, group and parents      a stray in an unknown session      its cookie, its pipes, elimination
A process survives SIGKILL                        30 s pass                          ``survivors``; the slot stays taken
Another process holds the output open             no end of file after the exit      1 s, then our end is closed
An observer raises                                an exception in the callback       logged; the task goes on
The orchestrator is cancelled                     ``CancelledError``                 KILL, sweep, reap; then re-raised
================================================  =================================  ===================================

What happens when a worker process dies is described in ``supervisor/`` and in ``worker/services/``.
"""
