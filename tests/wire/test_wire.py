"""Bytes that cross Redis come back as they were sent; all other bytes are malformed, and nothing worse."""

from __future__ import annotations

import random
import tracemalloc
from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

import msgpack
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from oneshot_queue.checks import (
    MAX_ARGUMENT_BYTES,
    MAX_ARGUMENTS,
    MAX_COMMAND_BYTES,
    MAX_CWD_BYTES,
    MAX_DURATION_S,
    MAX_ENV_BYTES,
    MAX_ENV_VARIABLES,
    MAX_LABEL_CHARS,
    MAX_LABELS,
    os_bytes,
    os_text,
)
from oneshot_queue.errors import MalformedData
from oneshot_queue.spec import JobSpec, Priority
from oneshot_queue.task_events import OutputStream
from oneshot_queue.wire import presences
from oneshot_queue.wire.chunks import MAX_INLINE_BYTES, Chunk, pack_chunks, unpack_chunks
from oneshot_queue.wire.presences import WorkerPresence
from oneshot_queue.wire.specs import MAX_SPEC_BYTES, pack_spec, unpack_spec
from tests.support.cases import case

# A busy machine must not turn a test red.
patient = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

names = st.text("abcXYZ019._-", min_size=1, max_size=64)
raw_words = st.binary(max_size=30).map(lambda raw: raw.replace(b"\0", b""))
os_texts = raw_words.map(os_text)  # as os.fsdecode gives them: what is no UTF-8 stands in as surrogates
texts = st.text(st.characters(categories=["L", "N", "P", "S"]), max_size=20)  # printable, as labels must be
words = raw_words | os_texts | texts
programs = words.map(lambda word: word or "true")
spans = st.floats(0, MAX_DURATION_S) | st.integers(0, 10**7)


@st.composite
def specs(draw: st.DrawFn) -> JobSpec:
    env_names = os_texts.map(lambda name: "E" + name.replace("=", "_"))
    return JobSpec(
        command=[draw(programs), *draw(st.lists(words, max_size=6))],
        name=draw(st.none() | names),
        cwd=draw(st.none() | os_texts.map(lambda text: "/" + text)),
        env=draw(st.dictionaries(env_names, os_texts, max_size=4)),
        labels=draw(st.dictionaries(names, texts, max_size=4)),
        priority=draw(st.sampled_from(list(Priority))),
        stdin=draw(st.none() | st.binary(max_size=50)),
        time_limit=draw(st.none() | spans),
        idle_after=draw(st.none() | spans),
        idle_timeout=draw(st.none() | spans),
        grace=draw(spans),
        success_codes=draw(st.sets(st.integers(0, 255), min_size=1, max_size=4)),
        pty=draw(st.booleans()),
        retry_of=draw(st.none() | names.map("r".__add__).map(lambda name: name[:64])),
    )


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
    "presence": (presences.unpack_presence, presences.pack_presence(A_PRESENCE)),
    "chunks": (unpack_chunks, pack_chunks(CHUNKS)),
}


def packed(value: object) -> bytes:
    raw: bytes = msgpack.packb(value)
    return b"\x01" + raw


@patient
@given(specs())
def test_spec_comes_back_as_it_was_sent(spec: JobSpec) -> None:
    again = unpack_spec(pack_spec(spec), spec.stdin or b"")

    assert again.argv == spec.argv
    assert {name: os_bytes(value) for name, value in again.env.items()} == {
        name: os_bytes(value) for name, value in spec.env.items()
    }
    assert (again.cwd is None) == (spec.cwd is None)
    assert os_bytes(again.cwd or "") == os_bytes(spec.cwd or "")
    for each in fields(JobSpec):
        if each.name not in ("command", "env", "cwd"):
            assert getattr(again, each.name) == getattr(spec, each.name), each.name


@patient
@given(specs())
def test_spec_that_came_back_is_packed_into_the_same_bytes(spec: JobSpec) -> None:
    raw = pack_spec(spec)

    assert pack_spec(unpack_spec(raw, spec.stdin or b"")) == raw


def test_word_of_a_command_comes_back_as_text_where_it_is_text() -> None:
    spec = JobSpec(["echo", "\udcff", b"plain", b"\xff", "é", ""])

    again = unpack_spec(pack_spec(spec))

    assert again.command == ("echo", b"\xff", "plain", b"\xff", "é", "")


def test_plain_command_is_packed_into_few_bytes() -> None:
    assert len(pack_spec(JobSpec(["true"]))) < 20


def test_stdin_is_not_in_the_spec_but_that_there_is_one_is() -> None:
    raw = pack_spec(JobSpec(["cat"], stdin=b"secret"))

    assert b"secret" not in raw
    assert unpack_spec(raw, b"secret").stdin == b"secret"
    assert unpack_spec(raw).stdin == b""
    assert unpack_spec(pack_spec(JobSpec(["cat"])), b"secret").stdin is None


def test_largest_spec_that_is_valid_fits() -> None:
    word = b"\xff" * (MAX_COMMAND_BYTES // MAX_ARGUMENTS)
    value = "v" * ((MAX_ENV_BYTES - 4 * MAX_ENV_VARIABLES) // MAX_ENV_VARIABLES)
    spec = JobSpec(
        [word] * MAX_ARGUMENTS,
        cwd="/" + "c" * (MAX_CWD_BYTES - 1),
        env={f"E{number:03d}": value for number in range(MAX_ENV_VARIABLES)},
        labels={f"{number:064d}": "🎉" * MAX_LABEL_CHARS for number in range(MAX_LABELS)},
        success_codes=range(256),
    )

    raw = pack_spec(spec)

    assert len(raw) <= MAX_SPEC_BYTES
    assert unpack_spec(raw).argv == spec.argv


def test_longest_argument_and_variable_that_are_valid_fit() -> None:
    spec = JobSpec([b"x" * MAX_ARGUMENT_BYTES] * 2, env={"A": "v" * (MAX_ARGUMENT_BYTES - 2)})

    assert unpack_spec(pack_spec(spec)).argv == spec.argv


def test_presence_comes_back_as_it_was_sent() -> None:
    for presence in (A_PRESENCE, replace(A_PRESENCE, only_job=None, running=(), queues=())):
        assert presences.unpack_presence(presences.pack_presence(presence)) == presence


def test_presence_of_an_older_worker_lacks_what_is_newer_and_that_of_a_newer_one_has_more() -> None:
    older = {each.name: getattr(A_PRESENCE, each.name) for each in fields(WorkerPresence)}
    for name in ("supervisor", "process", "processes", "layer"):
        del older[name]

    assert presences.unpack_presence(packed(older)) == A_PRESENCE
    assert presences.unpack_presence(packed({**older, "mood": ["good"]})) == A_PRESENCE
    del older["pid"]
    with pytest.raises(MalformedData):
        presences.unpack_presence(packed(older))


def test_chunks_come_back_as_they_were_sent() -> None:
    for chunks in (CHUNKS, []):
        assert unpack_chunks(pack_chunks(chunks)) == chunks


def test_largest_inline_output_fits() -> None:
    chunks = [Chunk(number, OutputStream.STDERR, 4_000, 2**42, b"x" * 40) for number in range(1, 101)]

    raw = pack_chunks([*chunks, Chunk(101, OutputStream.STDOUT, 0, 2**42, b"x" * 96)])

    assert len(unpack_chunks(raw)) == 101


@case("V7")
@pytest.mark.parametrize("name", READERS)
def test_mutated_bytes_are_malformed_or_something_valid_and_never_worse(name: str) -> None:
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
def test_any_bytes_are_malformed_or_something_valid_and_never_worse(name: str, raw: bytes) -> None:
    read, _ = READERS[name]
    for hostile in (raw, b"\x01" + raw):
        try:
            read(hostile)
        except MalformedData:
            continue


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


@patient
@given(value=json_like, field=st.sampled_from([each.name for each in fields(JobSpec)]))
def test_any_value_in_any_field_of_a_spec_is_malformed_or_valid(value: object, field: str) -> None:
    try:
        spec = unpack_spec(packed({"command": [b"true"], field: value}))
    except MalformedData:
        return
    assert isinstance(spec, JobSpec)


@patient
@given(value=json_like, field=st.sampled_from([each.name for each in fields(WorkerPresence)]))
def test_any_value_in_any_field_of_a_presence_is_malformed_or_of_its_kind(value: object, field: str) -> None:
    known = {each.name: getattr(A_PRESENCE, each.name) for each in fields(WorkerPresence)}
    try:
        presence = presences.unpack_presence(packed({**known, field: value}))
    except MalformedData:
        return
    assert type(getattr(presence, field)) in (type(getattr(A_PRESENCE, field)), type(None))


@patient
@given(value=json_like)
def test_any_value_as_output_is_malformed_or_chunks(value: object) -> None:
    for hostile in (value, [value], [[1, 1, 0, 0, value]], [[value] * 5]):
        try:
            chunks = unpack_chunks(packed(hostile))
        except MalformedData:
            continue
        assert all(isinstance(each.data, bytes) and type(each.ordinal) is int for each in chunks)


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize("version", [b"", b"\x00", b"\x02", b"\xff"])
def test_another_version_is_malformed_and_says_which(name: str, version: bytes) -> None:
    read, raw = READERS[name]

    with pytest.raises(MalformedData, match=f"version {version[0]}" if version else "nothing"):
        read(version + raw[1:] if version else b"")


@pytest.mark.parametrize("name", READERS)
def test_bytes_behind_the_end_are_malformed(name: str) -> None:
    read, raw = READERS[name]

    with pytest.raises(MalformedData):
        read(raw + b"\xc0")


@pytest.mark.parametrize(
    "hostile",
    [
        {},
        {"name": "x"},
        {"command": [b"true"], "unknown": 1},
        {"command": [b"true"], b"name": "x"},
        {"command": []},
        {"command": [b""]},
        {"command": ["true"]},
        {"command": b"true"},
        {"command": [b"a\0b"]},
        {"command": [b"true"], "cwd": b"relative"},
        {"command": [b"true"], "cwd": "/"},
        {"command": [b"true"], "env": {"A": b"1"}},
        {"command": [b"true"], "env": {b"A=": b"1"}},
        {"command": [b"true"], "env": {b"ONESHOT_TOKEN": b"1"}},
        {"command": [b"true"], "labels": {"a b": "c"}},
        {"command": [b"true"], "labels": {"a": "\n"}},
        {"command": [b"true"], "priority": "urgent"},
        {"command": [b"true"], "grace": None, "name": None},
        {"command": [b"true"], "grace": True},
        {"command": [b"true"], "time_limit": float("nan")},
        {"command": [b"true"], "time_limit": -1},
        {"command": [b"true"], "time_limit": 10**18},
        {"command": [b"true"], "success_codes": []},
        {"command": [b"true"], "success_codes": [256]},
        {"command": [b"true"], "success_codes": [True]},
        {"command": [b"true"], "pty": 1},
        {"command": [b"true"], "retry_of": "last"},
        {"command": [b"true"], "stdin": 1},
        [],
        None,
        1,
        "x",
    ],
    ids=repr,
)
def test_spec_that_makes_no_sense_is_malformed(hostile: object) -> None:
    with pytest.raises(MalformedData):
        unpack_spec(packed(hostile))


@pytest.mark.parametrize(
    "hostile",
    [[[1, 1, 0, 0]], [[1, 3, 0, 0, b""]], [["1", 1, 0, 0, b""]], [[1, 1, 0, 0, "x"]], [1], 1, {"a": 1}, ["abcde"]],
    ids=repr,
)
def test_output_that_is_none_is_malformed(hostile: object) -> None:
    with pytest.raises(MalformedData):
        unpack_chunks(packed(hostile))


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
@pytest.mark.parametrize("bomb", BOMBS.values(), ids=BOMBS)
@pytest.mark.parametrize("read", [unpack_spec, presences.unpack_presence, unpack_chunks])
def test_bomb_is_malformed_and_costs_little(read: Callable[[bytes], object], bomb: bytes) -> None:
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
        (presences.unpack_presence, presences.MAX_PRESENCE_BYTES),
        (unpack_chunks, MAX_INLINE_BYTES),
    ],
)
def test_size_is_looked_at_before_anything_is_unpacked(
    read: Callable[[bytes], object], limit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unpackb(*_: Any, **__: Any) -> None:
        raise AssertionError("it was unpacked")

    monkeypatch.setattr(msgpack, "unpackb", unpackb)

    with pytest.raises(MalformedData, match=f"has {limit + 1} bytes; the limit is {limit}"):
        read(b"\x01" + b"\xc0" * limit)


def test_malformed_data_never_quotes_the_data() -> None:
    raw = packed({"command": [b"true"], "env": {b"TOKEN": "s3cret"}})

    with pytest.raises(MalformedData) as malformed:
        unpack_spec(raw)

    assert "s3cret" not in str(malformed.value)
