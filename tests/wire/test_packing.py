"""Bytes that cannot be read are malformed, whatever they are, and reading them needs little memory."""

from __future__ import annotations

import random
import tracemalloc
from collections.abc import Callable
from types import NoneType
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from oneshot_queue.errors import MalformedData
from oneshot_queue.wire.chunks import MAX_INLINE_BYTES, unpack_chunks
from oneshot_queue.wire.packing import fits
from oneshot_queue.wire.presences import MAX_PRESENCE_BYTES, unpack_presence
from oneshot_queue.wire.specs import MAX_SPEC_BYTES, unpack_spec
from tests.support.cases import case
from tests.wire.samples import READERS, patient

BOMBS = {
    "a list in a list, a hundred thousand deep": b"\x91" * 100_000 + b"\xc0",
    "a map in a map, a hundred thousand deep": b"\x81\xa1a" * 100_000 + b"\xc0",
    "a list that claims four billion": b"\xdd\xff\xff\xff\xff",
    "a map that claims four billion": b"\xdf\xff\xff\xff\xff",
    "a text that claims four billion": b"\xdb\xff\xff\xff\xff",
    "bytes that claim four billion": b"\xc6\xff\xff\xff\xff",
    "a list of a quarter million": b"\xdd\x00\x03\xd0\x90" + b"\xc0" * 250_000,
    "lists of lists of lists": b"\xdc\x0f\xff" + (b"\xdc\x00\x3c" + b"\x90" * 60) * 4_095,
    "an extension": b"\xc7\x00\x05",
    "a time stamp": b"\xd6\xff\x00\x00\x00\x00",
    "a key that is a list": b"\x81\x91\xc0\xc0",
    "ten megabytes": b"\xc0" * 10_000_000,
}


@case("V7")
@pytest.mark.parametrize("name", READERS)
def test_mutated_bytes_are_malformed_or_valid(name: str) -> None:
    read, raw = READERS[name]
    chance = random.Random(7)
    malformed = 0
    for _ in range(10_000):
        hostile = bytearray(raw)
        for _ in range(chance.randint(1, 4)):
            place = chance.randrange(1, len(hostile) + 1)
            match chance.randrange(4):
                case 0 if place < len(hostile):
                    hostile[place] = chance.randrange(256)
                case 1:
                    del hostile[place:]
                case 2:
                    hostile[place:place] = chance.randbytes(chance.randint(1, 9))
                case _:
                    del hostile[place : place + chance.randint(1, 9)]
        try:
            read(bytes(hostile))
        except MalformedData:
            malformed += 1

    assert malformed > 5_000


@pytest.mark.parametrize("name", READERS)
@patient
@given(raw=st.binary(max_size=200))
def test_any_bytes_are_malformed_or_valid(name: str, raw: bytes) -> None:
    read, _ = READERS[name]
    for hostile in (raw, b"\x01" + raw):
        try:
            read(hostile)
        except MalformedData:
            continue


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize("version", [b"", b"\x00", b"\x02", b"\xff"])
def test_another_version_is_malformed_and_named(name: str, version: bytes) -> None:
    read, raw = READERS[name]

    with pytest.raises(MalformedData, match=f"has version {version[0]}" if version else "is empty"):
        read(version + raw[1:] if version else b"")


@pytest.mark.parametrize("name", READERS)
def test_bytes_after_the_value_are_malformed(name: str) -> None:
    read, raw = READERS[name]

    with pytest.raises(MalformedData):
        read(raw + b"\xc0")


@case("V7")
@pytest.mark.parametrize("bomb", BOMBS.values(), ids=BOMBS)
@pytest.mark.parametrize("read", [unpack_spec, unpack_presence, unpack_chunks])
def test_bomb_is_malformed_and_needs_little_memory(read: Callable[[bytes], object], bomb: bytes) -> None:
    raw = b"\x01" + bomb
    tracemalloc.start()
    try:
        with pytest.raises(MalformedData):
            read(raw)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert peak < 20_000_000


@pytest.mark.parametrize(
    ("read", "limit"),
    [
        (unpack_spec, MAX_SPEC_BYTES),
        (unpack_presence, MAX_PRESENCE_BYTES),
        (unpack_chunks, MAX_INLINE_BYTES),
    ],
)
def test_size_is_checked_before_anything_is_unpacked(
    read: Callable[[bytes], object], limit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unpackb(*_: Any, **__: Any) -> None:
        raise AssertionError("it was unpacked")

    monkeypatch.setattr(msgpack, "unpackb", unpackb)

    with pytest.raises(MalformedData, match=f"has {limit + 1} bytes; the limit is {limit}"):
        read(b"\x01" + b"\xc0" * limit)


@pytest.mark.parametrize(
    ("kind", "fitting", "others"),
    [
        (int, [0, -1], [True, 1.0, "1", None]),
        (bool, [True, False], [0, 1, None]),
        (int | float | NoneType, [1, 1.5, None], [True, "1", b"1"]),
        (list[str], [[], ["a"]], ["a", [b"a"], ["a", 1], None]),
        (list[str | int], [[], ["a", 1]], [[b"a"], [None], {"a": 1}]),
        (dict[bytes, bytes], [{}, {b"a": b"b"}], [{"a": b"b"}, {b"a": "b"}, [], None]),
    ],
    ids=str,
)
def test_value_fits_its_type(kind: Any, fitting: list[object], others: list[object]) -> None:
    check = fits(kind)

    assert all(check(each) for each in fitting)
    assert not any(check(each) for each in others)
