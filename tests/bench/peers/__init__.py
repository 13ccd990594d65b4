"""The same work in other systems: ``make bench-peers``.

The work: N times ``/bin/true``, four at once, output captured, exit status and output stored and read back. xargs,
which stores nothing, is the ceiling. Each system is compared with the xargs of its own round.

========================= ===========================================================================================
``driving``, ``queues/``   one process for each turn of a queue, in the environment in which that queue is installed
``queue_peer``             the other side: a fresh server, that process, the check of results, the CPU time of it all
``programs``, ``own``      xargs and GNU parallel; this project
``environments``           the virtual environments of the other systems, made from ``requirements*.txt``
``rounds``, ``report``     rounds in which the available peers take turns; the table
``verbs``                  how long a CLI command takes, next to ``rq info``
========================= ===========================================================================================

Method:

* The peers take turns, round by round, so that other load on the machine affects all of them.
* Every turn has a fresh Redis of the same kind on a unix socket (AOF, ``everysec``), and workers that have become idle
  after their start and have run a warm-up batch.
* The clock runs from the first enqueue to the last stored result. The producer polls for that a hundred times per
  second, in the cheapest way that each queue offers.
* CPU time is the total of all processes of a peer, Redis, the producer and the commands.
* Every result is read back: one that is missing, or is not 0 without output, spoils the measurement.
* A peer that is not available is listed with the reason.
"""
