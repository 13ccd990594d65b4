"""All that is said to Redis, and nothing else: the only package that imports redis.

A job's life is a handful of Lua scripts, one transition each, so that a step is taken whole or not at all::

    submit ──> T:ready:<priority>  (stream: ids in order)      T:job:<id>  (hash: where it stands)
                     │ claim                                        ▲
                     ▼                                              │ record, append_output, finish
               pending under the worker's lease  ──────────────────┘
                     │ finish: XACK + XDEL, into T:state:<STATE>, oldest finished jobs forgotten
    interrupt ──> T:intents:<lease> (first), T:control (second) ──> the worker ──> finish

Three rules hold everywhere. *Guard first, then write*: the state allows it, the token and the lease are the writer's
own; what is refused is a tagged reply, never an error. *Idempotent*: ids are made by the client, changes carry sequence
numbers, chunks carry ordinals, ends carry tokens, so whatever was sent twice counts once. *A full memory never traps a
job*: the first write of every script but ``submit`` and ``append_output`` is one that Redis does not deny, and then it
lets the others pass.

What goes wrong, and what follows:

==================================  ==================================  ===============================================
it happens                          it is seen as                       and repaired by
==================================  ==================================  ===============================================
a reply of ``submit`` is lost       ``BrokerUnreachable``               enqueueing the same id again
a reply of ``claim`` is lost        ``BrokerUnreachable``               ``reclaim``: what was never received is started
``claim`` fails half-way            ``BrokerRefused``                   the same: Redis takes nothing back
a claim is forgotten by Redis       a job that is held is claimed       it goes on under the new claim
a reply of record, append, finish   ``BrokerUnreachable``               sending it again; it counts once
an announcement is lost             nothing                             the renewal, and everyone's own second look
a stream or its group is gone       an error of XREADGROUP              ``claim`` makes the group again, from 0
the scripts are flushed             NOSCRIPT                            sending the text
a primary is demoted, or dies       READONLY, a lost connection         asking the sentinels who follows
a queue moves in a cluster          MOVED, ASK, TRYAGAIN                asking where it is now, within the time limit
a server starts again               another ``run_id``                  whoever watches is told before the first call
a foreign entry is in a stream      no readable job                     ``claim`` sets it aside, and counts it
a lease is gone                     ``Lost``                            the worker ends its jobs, and leases anew
a worker vanishes                   a lease whose end does not move     ``sweep``: FAILED, or the next attempt
a running job has no lease          an index without a holder           ``audit`` reports it, ``decide`` ends it
a waiting job has no entry          an index without an entry           ``audit`` gives it one
a job is claimed and never begun    a token nobody received             ``give_back``; five times: poison
a server forgot its last writes     another run id                      ``restore``, ``adopt``, ends again; claims wait
==================================  ==================================  ===============================================

The rooms: ``keys`` names, ``lua`` and ``scripts`` what Redis runs, ``calls`` what to say, ``connection`` saying it,
``refusals`` what went wrong on the way, ``announcements`` hearing; ``job_store``, ``claiming``, ``lease_store`` and
``sweeping`` change,
``inspection`` and ``output`` look. Below ``connection``: ``addresses`` reads URLs, ``routes`` and ``rerouting`` decide
whom to ask and what to ask again, with ``sentinels`` and ``cluster`` for directories; ``async_node`` and ``sync_node``
hold the connections to one server, which ``driver`` makes and ``introductions`` and ``server_facts`` get to know.
"""
