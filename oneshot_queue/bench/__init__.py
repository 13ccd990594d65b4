"""What ``oneshot-queue bench`` measures: this project on any broker, in a namespace of its own.

::

    measuring     runs the families below, near the broker and with added latency
      throughput    commands per second, next to xargs       interrupts    interrupt to the end of a process group
      enqueueing    jobs stored per second, one enqueue       recovery      SIGKILL of a worker to its jobs settled
      latency       enqueue to result, lag of `logs -f`       output        output rate of one job, effect on others
      memory        of workers and of Redis
    fleet         the queue and the workers on it             proxy         a slower way to the broker
    figures       one measured value and its target           chart         the table that is printed
    exits         when processes exit                         procfs        CPU and memory of a process
    machine       the machine and the server                  sizes         how much is measured

A value may have a target. A missed target is shown in the table and does not make the benchmark fail. A measurement
fails only if its work did not succeed, because failed work is fast: a job ended differently, or a worker died.

The benchmark changes nothing on the server except keys of its namespace, which it removes at the end, also after
Ctrl-C.
"""
