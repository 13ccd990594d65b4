"""How fast, how quick and how small: ``make bench``. Numbers to read and compare, never a test that is timed.

All that ``oneshot-queue bench`` measures (``oneshot_queue/bench/``), and besides:

============== ======================================================================================================
roundtrip      one ``enqueue`` next to one bare round trip of redis-py
recovery       from a fault to the moment when all is right again: killed workers, lost hosts, deaf ones, a restart
scale          a million jobs that wait, ten thousand that run, fifty workers on one queue, a gigabyte of output
floor          what Python and the kernel alone need to start the same commands
local          ``run_commands`` in parallel next to the same commands one after another
peers          the same work through eleven other systems: ``make bench-peers``
============== ======================================================================================================

How it is measured:

* Redis is private to each measurement, fresh, on a unix socket, and as durable as in production: AOF, ``everysec``.
* Workers are the real command line, in processes of their own, and have run some jobs before a clock starts.
* What is compared is measured side by side: rounds take turns, a ratio is made within its round, and the median of all
  rounds is shown with the lowest and the highest.
* Every job's outcome is read back. Work that failed is quick, so one job that ended otherwise spoils the measurement.
* Whoever waits for the end of many jobs looks a hundred times a second at one number, the length of the ready stream
  (an entry stays until its job ends): a subscriber to thousands of jobs would compete with what it measures.
* Other work on the machine spoils the absolute numbers; the load before and after stands above the table. A mark that
  was missed is shown, and is no failure of the benchmark.
"""
