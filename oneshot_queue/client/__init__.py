"""How apps and people talk to a queue.

Every verb (enqueue, wait, interrupt, …) is a generator that yields what it wants to know and is sent the answers; it
does no I/O. ``driving`` carries the effects out, once for asyncio and once blocking, so ``Queue`` and ``SyncQueue``
have the same verbs and no logic is written twice::

    Queue, SyncQueue      aio, blocking           the verbs by name, typed
          |
    AsyncDriver, SyncDriver   driving             carry out Ask, Hear, Pause
          |
    submitting finding watching reading doctor    what each verb means
          |
    oneshot_queue.store                           what to say to Redis
"""
