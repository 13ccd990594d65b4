"""Everything that is sent to Redis: one function per command or script, and one script per transition of a job.

A transition is a Lua script, so that Redis carries it out completely or not at all::

    enqueue ──> T:ready:<priority>  (stream: job ids in order)   T:job:<id>  (hash: the job's current state)
                      │ claim                                         ▲
                      ▼                                               │ record, append_output, finish
                pending under the worker's lease  ────────────────────┘
                      │ finish: XACK + XDEL, job moves to T:state:<STATE>, the oldest finished jobs are removed
    interrupt ──> T:intents:<lease> (first), T:control (second) ──> the worker ──> finish

``T`` is the queue's prefix. ``keys`` lists every key with its type and content.

Three rules hold in every script:

- *Guard first, then write.* The job's state must allow the change, and token and lease must be the caller's. A refusal
  is a tagged reply, never an error.
- *Idempotent.* Clients choose job ids, records carry sequence numbers, output chunks carry ordinals, and results carry
  tokens. Whatever is sent twice counts once. ``claim`` is the exception: it is never repeated but read back.
- *A full memory never blocks a job.* The first write of every script except ``enqueue`` and ``append_output`` is one
  that Redis does not deny; Redis then accepts the script's other writes too.

Failures, how they show, and what repairs them:

=====================================  ==================================  =============================================
what happens                           how it shows                        what repairs it
=====================================  ==================================  =============================================
the reply of ``enqueue`` is lost       ``BrokerUnreachable``               enqueueing the same id again
the reply of ``claim`` is lost         ``BrokerUnreachable``               ``reclaim`` returns jobs that never arrived
``claim`` fails half-way               ``BrokerRefused``                   the same: Redis does not roll back
Redis forgets a claim                  a job that is held is claimed       the attempt continues under the new claim
the reply of record, append or finish  ``BrokerUnreachable``               sending it again; it counts once
an announcement is lost                nothing                             the next renewal; clients read again
a stream or its group is deleted       an error of XREADGROUP              ``claim`` creates the group again, from 0
the script cache is flushed            NOSCRIPT                            sending the script's text
a primary is demoted or dies           READONLY, a lost connection         asking the sentinels for the new primary
a queue moves within a cluster         MOVED, ASK, TRYAGAIN                asking the new node, within the time limit
a server restarts                      another ``run_id``                  the callback of ``on_new_server`` runs first
a foreign entry is in a stream         no readable job                     ``claim`` quarantines and counts it
a lease expires                        ``LeaseLost``                       the worker ends its jobs and registers again
a worker vanishes                      a lease whose end does not move     ``sweep``: FAILED, or the next attempt
a running job has no lease             an index row without a holder       ``audit`` reports it, ``settle`` ends it
a waiting job has no entry             an index row without an entry       ``audit`` adds an entry
a claimed job never begins             a token that no worker received     ``give_back``; the fifth time it is poison
a server loses its last writes         another run id                      ``restore``, ``adopt``, results sent again
=====================================  ==================================  =============================================

After a server lost its last writes, claiming pauses until the workers have reported what they run.

The modules, from bottom to top:

- ``keys`` names keys, ``scripts`` loads ``lua/``, ``calls`` represents a command or script, ``fields`` cleans values.
- ``enqueue``, ``claims``, ``attempts``, ``steering``, ``due``, ``retention``, ``leases``, ``presence`` and ``sweep``
  change jobs, queues and workers.
- ``records``, ``queues`` and ``output`` read them.
- ``checkup`` serves the doctor: it examines a queue part by part, and repairs it on request.
- ``transport`` carries calls to Redis. It is the only package that imports redis.
"""
