"""The in-memory broker: fakeredis behind a unix socket, for machines without a Redis server.

It lets a new user try everything without installing anything. All jobs are lost when its process ends; the starter
says so on stderr. It runs the same Lua scripts as a real server::

    server        the process: the socket, INFO's facts, expiry, SHUTDOWN
    connection    one client, served by a thread of its own
    link          that client's socket, and how other threads wake its thread
    commands      what commands do beyond fakeredis, or differently

fakeredis' own TCP server polls every connection every 10 ms, and does not notice that a blocked client is gone. Here a
thread sleeps in ``poll`` until there is data, a message or a changed key, and a client that disconnects ends its wait.
"""
