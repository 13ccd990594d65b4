"""One worker process: claims jobs of its queues, runs them on the local engine, and records what happens to them.

::

    supervisor ── SupervisorLink ──► StopState ──► Shutdown
                        │
                        └─ dead workers ──► CrashRecovery ──────────────┐
                                                                        │
    Redis ──► Claimer ──► Admission ──► engine (task, process group)    │
      │                                    │ events                     │
      ├──► LeaseKeeper, InterruptListener ─┼─► Orders ──► JobControl    │
      │                                    ▼                            │
      │                               JobObserver ──► Recorder, Shipper ┤
      └─────────────────────────────────────────────────────────────────┘

``wiring`` builds the parts bottom-up, ``worker`` starts and stops them in order. Each part is given the parts it
depends on, typed by a small ``Protocol``. ``session`` holds what all of them need to talk to Redis: the
connection, the identity and the clocks. ``services/`` are the duties that run all the time, ``state/`` is what they
share: the held jobs, the leases, the free slots. ``job_control`` ends jobs early or returns them to their queue.

A job is *held* from its claim until Redis has confirmed its result. After a crash or a loss, it is settled as follows:

==============================  ========================================  ==========================================
crash or loss                   seen as                                   repaired by
==============================  ========================================  ==========================================
before the claim's reply        claimed, token never received             claimer or reconciler: reads the claim back
between claim and start         held, no slot in the journal              crash_recovery: back to its queue, counted
between start and exit          slot without exit status                  supervisor ends the tree; marked lost
between exit and result         slot with exit status                     crash_recovery: the status is the result
result refused or Redis away    spooled on disk                           recorder; after a crash crash_recovery
Redis lost its last writes      another run id of the server              reasserter: lease, jobs, recent results
lease lost                      renewal or claim answers ``lost``         lease_keeper: fences its jobs, next lease
supervisor gone                 end of the channel                        jobs end FAILED as ``worker_lost``
whole machine gone              lease does not move for its length        sweeper of another worker: marked lost
==============================  ========================================  ==========================================
"""
