"""A spec is unpacked as it was packed; all other bytes are malformed."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import given
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
from oneshot_queue.spec import OPTIONS, JobSpec, Priority
from oneshot_queue.wire.specs import MAX_SPEC_BYTES, pack_spec, unpack_spec
from tests.wire.samples import json_like, packed, patient

names = st.text("abcXYZ019._-", min_size=1, max_size=64)
raw_words = st.binary(max_size=30).map(lambda raw: raw.replace(b"\0", b""))
os_texts = raw_words.map(os_text)  # as os.fsdecode returns them: surrogates where bytes are not UTF-8
texts = st.text(st.characters(categories=["L", "N", "P", "S"]), max_size=20)  # printable, as labels must be
words = raw_words | os_texts | texts
programs = words.map(lambda word: word or "true")
spans = st.floats(0, MAX_DURATION_S) | st.integers(0, 10**7)

STORED_BY_0_1_0: list[tuple[dict[str, Any], str]] = [
    ({"command": ["true"]}, "0181a7636f6d6d616e6491c40474727565"),
    ({"command": ["make", b"\xff", "\udcff", "é", ""]}, "0181a7636f6d6d616e6495c4046d616b65c401ffc401ffc402c3a9c400"),
    ({"command": ["cat"], "stdin": b"secret"}, "0182a7636f6d6d616e6491c403636174a5737464696ec3"),
    ({"command": ["cat"], "stdin": b""}, "0182a7636f6d6d616e6491c403636174a5737464696ec3"),
    ({"command": ["a"], "name": "nightly"}, "0182a7636f6d6d616e6491c40161a46e616d65a76e696768746c79"),
    ({"command": ["a"], "cwd": "/srv/\udcfff"}, "0182a7636f6d6d616e6491c40161a3637764c4072f7372762fff66"),
    (
        {"command": ["a"], "env": {"A": "1", "B\udcff": "\udcfe"}},
        "0182a7636f6d6d616e6491c40161a3656e7682c40141c40131c40242ffc401fe",
    ),
    (
        {"command": ["a"], "labels": {"team": "web", "why": "é"}},
        "0182a7636f6d6d616e6491c40161a66c6162656c7382a47465616da3776562a3776879a2c3a9",
    ),
    ({"command": ["a"], "priority": "high"}, "0182a7636f6d6d616e6491c40161a87072696f72697479a468696768"),
    ({"command": ["a"], "priority": "low"}, "0182a7636f6d6d616e6491c40161a87072696f72697479a36c6f77"),
    ({"command": ["a"], "time_limit": 90}, "0182a7636f6d6d616e6491c40161aa74696d655f6c696d6974cb4056800000000000"),
    ({"command": ["a"], "time_limit": 0}, "0181a7636f6d6d616e6491c40161"),
    ({"command": ["a"], "idle_after": 0}, "0182a7636f6d6d616e6491c40161aa69646c655f6166746572c0"),
    ({"command": ["a"], "idle_after": 60}, "0181a7636f6d6d616e6491c40161"),
    ({"command": ["a"], "idle_after": 5.5}, "0182a7636f6d6d616e6491c40161aa69646c655f6166746572cb4016000000000000"),
    (
        {"command": ["a"], "idle_timeout": 600},
        "0182a7636f6d6d616e6491c40161ac69646c655f74696d656f7574cb4082c00000000000",
    ),
    ({"command": ["a"], "grace": 0}, "0182a7636f6d6d616e6491c40161a56772616365cb0000000000000000"),
    ({"command": ["a"], "grace": 1.5}, "0182a7636f6d6d616e6491c40161a56772616365cb3ff8000000000000"),
    ({"command": ["a"], "success_codes": [3, 0, 3]}, "0182a7636f6d6d616e6491c40161ad737563636573735f636f646573920003"),
    ({"command": ["a"], "pty": True}, "0182a7636f6d6d616e6491c40161a3707479c3"),
    ({"command": ["a"], "retries": 3}, "0182a7636f6d6d616e6491c40161a77265747269657303"),
    (
        {"command": ["a"], "retries": 3, "retry_on": ["exit", 75, "worker_lost"]},
        "0183a7636f6d6d616e6491c40161a77265747269657303a872657472795f6f6e93a4657869744bab776f726b65725f6c6f7374",
    ),
    ({"command": ["a"], "retry_delay": 0}, "0182a7636f6d6d616e6491c40161ab72657472795f64656c6179cb0000000000000000"),
    (
        {"command": ["a"], "retry_max_delay": 3600},
        "0182a7636f6d6d616e6491c40161af72657472795f6d61785f64656c6179cb40ac200000000000",
    ),
    ({"command": ["a"], "exclusive": True}, "0182a7636f6d6d616e6491c40161a96578636c7573697665c3"),
    ({"command": ["a"], "retry_of": "abcd"}, "0182a7636f6d6d616e6491c40161a872657472795f6f66a461626364"),
    (
        {
            "command": ["echo", "x"],
            "name": "n",
            "cwd": "/",
            "env": {"A": "1"},
            "labels": {"a": "b"},
            "priority": "low",
            "stdin": b"x",
            "time_limit": 1.5,
            "idle_after": None,
            "idle_timeout": 2,
            "grace": 3,
            "success_codes": (0, 3),
            "pty": True,
            "retries": 1,
            "retry_on": ("signal",),
            "retry_delay": 4,
            "retry_max_delay": 5,
            "exclusive": True,
            "retry_of": "x",
        },
        "01de0013a7636f6d6d616e6492c4046563686fc40178a3656e7681c40141c40131a3637764c4012fa5737464696ec3a46e616d65a16ea66c6162656c7381a161a162a87072696f72697479a36c6f77aa74696d655f6c696d6974cb3ff8000000000000aa69646c655f6166746572c0ac69646c655f74696d656f7574cb4000000000000000a56772616365cb4008000000000000ad737563636573735f636f646573920003a3707479c3a77265747269657301a872657472795f6f6e91a67369676e616cab72657472795f64656c6179cb4010000000000000af72657472795f6d61785f64656c6179cb4014000000000000a96578636c7573697665c3a872657472795f6f66a178",
    ),
]
"""Options, and the packed spec as v0.1.0 stored it, in hexadecimal."""


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


@patient
@given(specs())
def test_spec_is_unpacked_as_it_was_packed(spec: JobSpec) -> None:
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
def test_unpacked_spec_is_packed_into_the_same_bytes(spec: JobSpec) -> None:
    raw = pack_spec(spec)

    assert pack_spec(unpack_spec(raw, spec.stdin or b"")) == raw


@pytest.mark.parametrize(
    ("options", "stored"), STORED_BY_0_1_0, ids=lambda value: value[:40] if isinstance(value, str) else ""
)
def test_spec_is_packed_into_the_bytes_of_version_0_1_0_and_read_from_them(
    options: dict[str, Any], stored: str
) -> None:
    spec = JobSpec(**options)

    again = unpack_spec(bytes.fromhex(stored), spec.stdin or b"")

    assert pack_spec(spec).hex() == stored
    assert again.argv == spec.argv
    assert replace(again, command=spec.command) == spec


def test_bytes_of_version_0_1_0_are_known_for_every_option() -> None:
    assert {name for options, _ in STORED_BY_0_1_0 for name in options} == OPTIONS.keys()


def test_word_of_a_command_is_unpacked_as_text_if_it_is_utf8() -> None:
    spec = JobSpec(["echo", "\udcff", b"plain", b"\xff", "é", ""])

    again = unpack_spec(pack_spec(spec))

    assert again.command == ("echo", b"\xff", "plain", b"\xff", "é", "")


def test_plain_command_needs_few_bytes() -> None:
    assert len(pack_spec(JobSpec(["true"]))) < 20


def test_packed_spec_says_that_there_is_a_stdin_but_does_not_contain_it() -> None:
    raw = pack_spec(JobSpec(["cat"], stdin=b"secret"))

    assert b"secret" not in raw
    assert unpack_spec(raw, b"secret").stdin == b"secret"
    assert unpack_spec(raw).stdin == b""
    assert unpack_spec(pack_spec(JobSpec(["cat"])), b"secret").stdin is None


def test_largest_valid_spec_fits() -> None:
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


def test_longest_valid_argument_and_variable_fit() -> None:
    spec = JobSpec([b"x" * MAX_ARGUMENT_BYTES] * 2, env={"A": "v" * (MAX_ARGUMENT_BYTES - 2)})

    assert unpack_spec(pack_spec(spec)).argv == spec.argv


@patient
@given(value=json_like, field=st.sampled_from([each.name for each in fields(JobSpec)]))
def test_any_value_in_any_field_of_a_spec_is_malformed_or_valid(value: object, field: str) -> None:
    try:
        spec = unpack_spec(packed({"command": [b"true"], field: value}))
    except MalformedData:
        return
    assert isinstance(spec, JobSpec)


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
def test_invalid_spec_is_malformed(hostile: object) -> None:
    with pytest.raises(MalformedData):
        unpack_spec(packed(hostile))


def test_malformed_data_never_quotes_the_data() -> None:
    raw = packed({"command": [b"true"], "env": {b"TOKEN": "s3cret"}})

    with pytest.raises(MalformedData) as malformed:
        unpack_spec(raw)

    assert "s3cret" not in str(malformed.value)
