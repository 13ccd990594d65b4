"""The output of a job that wrote little is unpacked as it was packed."""

from __future__ import annotations

import pytest
from hypothesis import given

from oneshot_queue.errors import MalformedData
from oneshot_queue.task_events import OutputStream
from oneshot_queue.wire.chunks import Chunk, pack_chunks, unpack_chunks
from tests.wire.samples import CHUNKS, json_like, packed, patient


def test_chunks_are_unpacked_as_they_were_packed() -> None:
    for chunks in (CHUNKS, []):
        assert unpack_chunks(pack_chunks(chunks)) == chunks


def test_largest_inline_output_fits() -> None:
    chunks = [Chunk(number, OutputStream.STDERR, 4_000, 2**42, b"x" * 40) for number in range(1, 101)]

    raw = pack_chunks([*chunks, Chunk(101, OutputStream.STDOUT, 0, 2**42, b"x" * 96)])

    assert len(unpack_chunks(raw)) == 101


@patient
@given(value=json_like)
def test_any_value_as_output_is_malformed_or_chunks(value: object) -> None:
    for hostile in (value, [value], [[1, 1, 0, 0, value]], [[value] * 5]):
        try:
            chunks = unpack_chunks(packed(hostile))
        except MalformedData:
            continue
        assert all(isinstance(each.data, bytes) and type(each.ordinal) is int for each in chunks)


@pytest.mark.parametrize(
    "hostile",
    [[[1, 1, 0, 0]], [[1, 3, 0, 0, b""]], [["1", 1, 0, 0, b""]], [[1, 1, 0, 0, "x"]], [1], 1, {"a": 1}, ["abcde"]],
    ids=repr,
)
def test_invalid_chunks_are_malformed(hostile: object) -> None:
    with pytest.raises(MalformedData):
        unpack_chunks(packed(hostile))
