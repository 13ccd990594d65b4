"""What ``oneshot-queue bench`` measures: this project on any broker, in a namespace of its own.

::

    throughput    commands a second, next to xargs            interrupts    interrupt to the death of a process group
    enqueueing    jobs accepted a second, one enqueue          recovery      SIGKILL of a worker to its jobs decided
    latency       enqueue to result, the lag of `logs -f`      output        what one job may write, and who suffers
                                                              memory        of workers, and of Redis
    measuring     these families, near the broker and far from it
    fleet         the queue, and the workers on it             proxy         a way to the broker that takes its time
    figures       one measured value       chart               the table that people see
    deaths        the instant a process dies       procfs      what a process has used       sizes   how much of all

Nothing on the server is changed but keys of that namespace, and they are removed at the end, also after Ctrl-C.
"""
