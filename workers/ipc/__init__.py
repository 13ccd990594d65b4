"""What a supervisor and its worker processes share. Imports no Redis client and no event loop.

::

    supervisor                                             worker process
    Channel  --- Assignment, Stop, Recover --------------> Channel     a socket pair that keeps messages whole
             <-- Opened, GaveUp, Recovered, RecoveryDeclined
    Journal  <== leases, slots of jobs ==================  Journal     a shared memory map of one file
             ==> which slots were fenced ===============>

The channel carries requests; the journal carries facts that must survive the worker. A killed worker
sends nothing more, but its journal says which jobs it may have started, under which leases, and which exit statuses it
read. The supervisor gives that file to a live worker, which records the results (``DeadWorker``).

==================================  =====================================  =============================================
What fails                          Seen as                                Handled by
==================================  =====================================  =============================================
The worker dies                     SIGCHLD; its channel is closed         the supervisor reads the journal
The supervisor dies                 the worker's channel is closed         the worker interrupts its jobs and exits
A channel's buffer is full          ``send`` returns ``False``             the supervisor repeats it in its next pass
A worker dies while it writes       an entry without its first byte        entries count only once that byte is written
The machine crashes                 another boot id, damaged entries       ``DeadWorker.is_complete`` is ``False``
==================================  =====================================  =============================================

================ =======================================================================================================
options          what the command line asked for, and each process's share of it
messages         the messages
channel          how they are sent
journal_format   the layout of a journal file, and reading it
journal          writing it
dead_worker      what is known about a dead worker
lease_margin     how long before its lease expires an exclusive job must be gone
console          report lines for the person who started the worker
================ =======================================================================================================
"""
