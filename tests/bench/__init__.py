"""Benchmarks of throughput, latency and memory: ``make bench``. The numbers are for comparison, not asserted.

Everything that ``oneshot-queue bench`` measures (``oneshot_queue/bench/``), and in addition:

============== ======================================================================================================
roundtrip      one ``enqueue`` next to one bare round trip of redis-py
recovery       from a fault to full recovery: killed workers, lost hosts, workers without pub/sub, a restart of Redis
scale          a million waiting jobs, ten thousand running jobs, fifty workers on one queue, a gigabyte of output
floor          what Python and the kernel alone need to start the same commands
local          ``run_commands`` in parallel, next to the same commands one after another
peers          the same work in eleven other systems: ``make bench-peers``
============== ======================================================================================================

Method:

* Each measurement has a fresh, private Redis on a unix socket, as durable as in production: AOF, ``everysec``.
* Workers are started from the real command line, in processes of their own, and run some jobs before the clock starts.
* Values that are compared are measured side by side: measurements take turns, ratios are computed within a round, and
  the median of all rounds is shown with the lowest and the highest.
* Every job's result is read back. Failed work is fast, so one job that ended differently spoils the measurement.
* To wait for many jobs, the benchmark polls one number a hundred times per second: the length of the ready stream, in
  which an entry stays until its job has ended. A subscriber to thousands of jobs would compete with what it measures.
* Other work on the machine distorts absolute numbers, so the load before and after is printed with the table. A missed
  target is shown, and does not make the benchmark fail.
"""
