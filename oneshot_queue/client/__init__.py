"""The client library: how applications and the command line talk to a queue.

Each verb (enqueue, wait, interrupt, …) is a generator that does no I/O: it yields effects and is sent their results.
A driver performs the effects, once for asyncio and once blocking. ``Queue`` and ``SyncQueue`` therefore have the same
verbs, and no logic is written twice::

    async_queue  sync_queue        Queue and Job, SyncQueue and SyncJob: the public, typed API
          |
       drivers                     perform the effects: run calls, listen, sleep
          |
    verbs/  doctor/                what each verb does
          |
    effects  presences  attention  the effects; live workers; the notice that no worker attends a job
          |
    oneshot_queue.store            the calls to Redis

``options`` holds what a job and a queue can be given.
"""
