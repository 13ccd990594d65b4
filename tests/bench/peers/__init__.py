"""The same work through other systems: ``make bench-peers``.

The work: N times ``/bin/true``, four at once, output captured, exit status and output stored and read back. xargs,
which stores nothing, is the ceiling that the others are compared with, each with the xargs of its own round.

========================= ===========================================================================================
``driving``, ``queues/``   one process for each turn of a queue, in the environment where that queue is installed
``queue_peer``             the other end of it: a fresh server, that process, the check, the CPU of it all
``programs``, ``own``      xargs and GNU parallel; this project
``environments``           the virtual environments of the others, made from ``requirements*.txt``
``rounds``, ``report``     who is there takes turns; the table
``verbs``                  what a verb of the command line takes, next to ``rq info``
========================= ===========================================================================================

How it is measured:

* The peers take turns, round by round, so that whatever else the machine does meets all of them.
* Every turn has a fresh Redis of the same kind on a unix socket (AOF, ``everysec``), and workers that have come to rest
  after their start and have done a warm-up batch.
* The clock runs from the first enqueue to the moment when the last result is stored; who enqueues looks for that a
  hundred times a second, in the cheapest way each queue has.
* CPU is that of all processes of a peer, of Redis, of the one who enqueues, and of the commands.
* Every result is read back: one that is missing or not a silent 0 spoils the measurement.
* A peer that is not there is reported with the reason, and never just left out.
"""
