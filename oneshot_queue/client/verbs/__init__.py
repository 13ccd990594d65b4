"""What each verb of a queue does, as a generator that does no I/O: one module per verb.

A verb yields the effects it needs (``client/effects.py``) and returns its result. The drivers perform the effects, so
``Queue`` and ``SyncQueue`` share these modules::

    enqueue     store one job, or many at once             interrupt   end jobs, and wait until they are gone
    retry       run a job again, as a new job              wait        wait for a job's result
    get         find a job by its id or a prefix           logs        read or follow a job's output
    ls          list jobs                                  queues      list queues and their counts
    ping        check that the broker answers              workers     list live workers

A function is named after what it does to its object (``enqueue_job``, ``wait_for_result``). The methods of ``Queue``
and ``Job`` have the short names (``enqueue``, ``wait``) and call these functions.

Verbs that wait subscribe first and read afterwards, so they miss nothing that happens in between. Because pub/sub
messages can be lost, they also read again every second. Their reads retry for 30 s while the broker is unreachable;
writes are never retried here.
"""
