"""Samples and strategies for all tests of the wire."""

from __future__ import annotations

from collections.abc import Callable

import msgpack
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from oneshot_queue.spec import JobSpec
from oneshot_queue.task_events import OutputStream
from oneshot_queue.wire.chunks import Chunk, pack_chunks, unpack_chunks
from oneshot_queue.wire.presences import WorkerPresence, pack_presence, unpack_presence
from oneshot_queue.wire.specs import pack_spec, unpack_spec

# On a busy machine, drawing an example can take seconds.
patient = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

A_PRESENCE = WorkerPresence("id", "name", "host", 1, ("a", "b"), 4, ("job",), 1_000, 2_000, "job")
CHUNKS = [
    Chunk(1, OutputStream.STDOUT, 0, 1_000, b"out\xff\0"),
    Chunk(2, OutputStream.STDERR, 0, 2**40, b""),
    Chunk(3, OutputStream.STDOUT, 2**62, 1_000, bytes(range(256))),
]
READERS: dict[str, tuple[Callable[[bytes], object], bytes]] = {
    "spec": (
        unpack_spec,
        pack_spec(
            JobSpec(
                ["make", b"\xff"],
                name="n",
                cwd="/",
                env={"A": "1"},
                labels={"a": "b"},
                priority="low",
                stdin=b"",
                time_limit=1.5,
                success_codes=(0, 3),
                pty=True,
                retry_of="x",
            )
        ),
    ),
    "presence": (unpack_presence, pack_presence(A_PRESENCE)),
    "chunks": (unpack_chunks, pack_chunks(CHUNKS)),
}

json_like = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | st.text(max_size=9)
    | st.binary(max_size=9),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9) | st.binary(max_size=9), inner, max_size=4)
    ),
    max_leaves=12,
)


def packed(value: object) -> bytes:
    """Pack a value that no writer of ours would."""
    raw: bytes = msgpack.packb(value)
    return b"\x01" + raw
