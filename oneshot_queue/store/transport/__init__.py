"""Carries calls to Redis: to one server, to the primary that sentinels name, or to the nodes of a cluster.

::

    AsyncConnection, SyncConnection     ``connection``: what the rest of the library uses
          │ ask
    Route                               ``routes``: ``Direct``; or ``rerouting``, with ``sentinels`` or ``cluster``
          │ yields steps, performed by the connection
    AsyncNode, SyncNode                 the connections to one server: ``async_node``, ``sync_node``
          │ open, after a ``Handshake``
    redis-py's connections              ``driver``

Routes do no I/O: they are generators that yield steps and receive the result of each, so both connections share them.
``coalescing`` joins calls of the same turn of the event loop. ``pubsub`` subscribes. ``refusals`` translates errors.

redis-py parses URLs, logs in, speaks TLS and parses replies. Its clients are not used: they repeat commands after a
timeout, and a repeated claim is a second claim. Here each command is sent once. After a lost reply, the caller must
expect that the command was carried out. Only what a server refused before doing anything is sent again.
"""
