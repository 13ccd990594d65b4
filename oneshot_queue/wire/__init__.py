"""The bytes that cross Redis: one version byte, then msgpack. Pure.

==============  =============================================================================
``packing``     version, size limits and type checks, for all of them
``specs``       a ``JobSpec``, stored when it is enqueued and read by the worker that claims it
``presences``   a worker's sign of life, published every few seconds and read by clients
``chunks``      the output of a job that wrote little, stored together with its outcome
==============  =============================================================================

Readers trust nothing, because every client of the Redis server can write these bytes:

- The size is checked before unpacking, since 1 MB of msgpack can become 64 MB of objects.
- Every length inside is limited.
- The content must fit its schema exactly. An unknown field, a missing field or a field of another type makes the whole
  message ``MalformedData``. Nothing is guessed, and no error quotes the data.

Only a presence may have fields that its reader does not know, or lack fields that its writer does not know: the workers
of a fleet are upgraded one by one.
"""
