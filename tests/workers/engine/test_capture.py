"""The head and the tail of each stream are kept exactly, and the rest is counted."""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from oneshot_queue.outcomes import Captured
from oneshot_queue.task_events import OutputStream
from oneshot_queue.workers.engine.capture import OutputCapture


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.binary(max_size=30), max_size=40), st.integers(0, 40), st.integers(0, 40))
def test_head_and_tail_are_kept_and_the_rest_is_counted(chunks: list[bytes], head: int, tail: int) -> None:
    capture = OutputCapture(head_bytes=head, tail_bytes=tail)

    for chunk in chunks:
        capture.append(OutputStream.STDOUT, chunk)

    whole = b"".join(chunks)
    rest = whole[head:]
    kept = whole[:head] + rest[max(0, len(rest) - tail) :]
    assert capture.result() == Captured(kept, b"", len(whole) - len(kept))


def test_streams_are_kept_separately_and_their_dropped_bytes_are_added() -> None:
    capture = OutputCapture(head_bytes=2, tail_bytes=1)

    capture.append(OutputStream.STDOUT, b"abcdef")
    capture.append(OutputStream.STDERR, b"ABCDEF")

    assert capture.result() == Captured(b"abf", b"ABF", 6)


def test_a_million_single_bytes_are_kept_in_bounded_memory() -> None:
    capture = OutputCapture(head_bytes=1_000, tail_bytes=1_000)

    for _ in range(1_000_000):
        capture.append(OutputStream.STDOUT, b"x")

    assert len(capture._streams[OutputStream.STDOUT]._tail) <= 1_250
    assert capture.result().dropped == 998_000
