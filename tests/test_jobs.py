"""A ``JobSpec`` that exists is valid; what makes no sense is refused by name."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from oneshot_queue.checks import (
    MAX_ARGUMENT_BYTES,
    MAX_COMMAND_BYTES,
    MAX_DURATION_S,
    MAX_ENV_BYTES,
    MAX_STDIN_BYTES,
    NAME_PATTERN,
    checked_id,
    checked_name,
)
from oneshot_queue.errors import InvalidJob
from oneshot_queue.jobs import new_job_id, text_of
from oneshot_queue.spec import JobSpec, Priority

BAD = {
    "no words": ("command", {"command": []}),
    "one string": ("command", {"command": "true"}),
    "bytes": ("command", {"command": b"true"}),
    "no sequence": ("command", {"command": {"true"}}),
    "no program": ("command", {"command": [""]}),
    "a NUL": ("command", {"command": ["echo", "a\0b"]}),
    "a NUL in bytes": ("command", {"command": [b"echo", b"\0"]}),
    "a number": ("command word 1", {"command": ["echo", 1]}),
    "nothing": ("command word 1", {"command": ["echo", None]}),
    "an empty program": ("command", {"command": [None]}),
    "half a pair": ("command word 1", {"command": ["echo", "\ud800"]}),
    "too many words": ("command", {"command": ["x"] * 4097}),
    "too long a word": ("command", {"command": ["x" * (MAX_ARGUMENT_BYTES + 1)]}),
    "too long": ("command", {"command": ["x" * 100_000] * (MAX_COMMAND_BYTES // 100_000 + 1)}),
    "an empty name": ("name", {"name": ""}),
    "a name with a space": ("name", {"name": "a b"}),
    "a name that is a key": ("name", {"name": "a:{b}"}),
    "a name with a newline": ("name", {"name": "a\n"}),
    "too long a name": ("name", {"name": "x" * 65}),
    "no text for a name": ("name", {"name": 7}),
    "a relative cwd": ("cwd", {"cwd": "here"}),
    "an empty cwd": ("cwd", {"cwd": ""}),
    "a NUL in cwd": ("cwd", {"cwd": "/a\0b"}),
    "too long a cwd": ("cwd", {"cwd": "/" + "x" * 4096}),
    "no text for cwd": ("cwd", {"cwd": 7}),
    "no mapping for env": ("env", {"env": [("A", "b")]}),
    "an empty variable": ("env", {"env": {"": "x"}}),
    "a variable with =": ("env", {"env": {"A=B": "x"}}),
    "a NUL in a value": ("env", {"env": {"A": "x\0"}}),
    "a number as value": ("env 'A'", {"env": {"A": 1}}),
    "bytes as value": ("env", {"env": {"A": b"x"}}),
    "a reserved variable": ("env", {"env": {"ONESHOT_TOKEN": "x"}}),
    "too long a variable": ("env", {"env": {"A": "x" * MAX_ARGUMENT_BYTES}}),
    "too much env": ("env", {"env": {"A": "x" * 70_000, "B": "x" * (MAX_ENV_BYTES - 70_000)}}),
    "too many variables": ("env", {"env": {f"A{n}": "" for n in range(257)}}),
    "no mapping for labels": ("labels", {"labels": ["k=v"]}),
    "a bad label key": ("label", {"labels": {"a b": "x"}}),
    "a label with a control character": ("label", {"labels": {"k": "\x1b[2J"}}),
    "too long a label": ("label", {"labels": {"k": "x" * 257}}),
    "a number as label": ("label", {"labels": {"k": 1}}),
    "too many labels": ("labels", {"labels": {f"k{n}": "" for n in range(33)}}),
    "an unknown priority": ("priority", {"priority": "urgent"}),
    "a number as priority": ("priority", {"priority": 1}),
    "text for stdin": ("stdin", {"stdin": "x"}),
    "too much stdin": ("stdin", {"stdin": bytes(MAX_STDIN_BYTES + 1)}),
    "no success codes": ("success_codes", {"success_codes": []}),
    "text for success codes": ("success_codes", {"success_codes": "0"}),
    "a negative success code": ("success_codes", {"success_codes": [-1]}),
    "too large a success code": ("success_codes", {"success_codes": [256]}),
    "true as success code": ("success_codes", {"success_codes": [True]}),
    "a number as a flag": ("pty", {"pty": 1}),
    "a bad id to repeat": ("id", {"retry_of": "a b"}),
}
# On a busy machine the first text takes seconds to draw.
patient = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
FIELDS = ("name", "cwd", "env", "labels", "priority", "stdin", "time_limit", "grace", "success_codes", "pty")
NONSENSE = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.binary(), st.lists(st.integers())
)
DURATIONS = ("time_limit", "idle_after", "idle_timeout", "grace")


@pytest.mark.parametrize(("field", "wrong"), BAD.values(), ids=BAD.keys())
def test_what_makes_no_sense_is_refused_by_name(field: str, wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidJob) as refused:
        JobSpec(**{"command": ["true"], **wrong})

    assert refused.value.field == field
    assert str(refused.value).startswith(f"{field}: ")


@pytest.mark.parametrize("field", DURATIONS)
@pytest.mark.parametrize("value", [-1, -0.001, math.nan, math.inf, -math.inf, MAX_DURATION_S + 1, "10", True, [1]])
def test_a_duration_that_makes_no_sense_is_refused(field: str, value: Any) -> None:
    with pytest.raises(InvalidJob) as refused:
        JobSpec(["true"], **{field: value})

    assert refused.value.field == field


@pytest.mark.parametrize("field", DURATIONS[:3])
@pytest.mark.parametrize("value", [0, 0.0, None])
def test_zero_switches_a_limit_off(field: str, value: Any) -> None:
    assert getattr(JobSpec(["true"], **{field: value}), field) is None


def test_grace_zero_stays_zero() -> None:
    assert JobSpec(["true"], grace=0).grace == 0.0


def test_the_defaults_are_those_that_are_documented() -> None:
    spec = JobSpec(["true"])

    assert (spec.idle_after, spec.grace, spec.time_limit, spec.idle_timeout) == (60.0, 10.0, None, None)
    assert (spec.priority, spec.success_codes, spec.cwd, spec.stdin) == (Priority.NORMAL, (0,), None, None)


@patient
@given(st.lists(st.binary(min_size=1, max_size=50).filter(lambda word: b"\0" not in word), min_size=1, max_size=20))
def test_any_words_without_nul_are_a_command_and_stay_as_they_are(words: list[bytes]) -> None:
    assert JobSpec(words).argv == tuple(words)


@patient
@given(st.text(min_size=1).filter(lambda word: "\0" not in word))
def test_any_text_is_a_word_in_utf8_or_refused(word: str) -> None:
    try:
        spec = JobSpec([word])
    except InvalidJob:
        with pytest.raises(UnicodeEncodeError):
            word.encode()
    else:
        assert spec.argv[0] == word.encode("utf-8", "surrogateescape")


@patient
@given(st.from_regex(NAME_PATTERN, fullmatch=True))
def test_a_name_by_the_pattern_is_accepted_as_it_is(name: str) -> None:
    assert checked_name("name", name) == name


@patient
@given(st.text(max_size=70).filter(lambda name: not NAME_PATTERN.fullmatch(name)))
def test_every_other_name_is_refused(name: str) -> None:
    with pytest.raises(InvalidJob):
        checked_name("name", name)


@patient
@given(st.dictionaries(st.sampled_from(FIELDS), NONSENSE))
def test_any_nonsense_is_accepted_or_refused_and_nothing_else(fields: dict[str, Any]) -> None:
    try:
        spec = JobSpec(["true"], **fields)
    except InvalidJob:
        return
    assert spec.command == ("true",)


def test_last_is_no_id_because_it_is_a_word_of_its_own() -> None:
    with pytest.raises(InvalidJob, match="'last'"):
        checked_id("last")


def test_new_ids_are_valid_and_differ() -> None:
    ids = {new_job_id() for _ in range(1000)}

    assert len(ids) == 1000
    assert all(checked_id(each) == each and len(each) == 16 for each in ids)


def test_repr_shows_no_secret() -> None:
    spec = JobSpec(["true"], env={"PASSWORD": "hunter2"}, stdin=b"hunter2")

    assert "hunter2" not in repr(spec)
    assert "PASSWORD" in repr(spec)


def test_bytes_that_are_no_text_are_shown_as_escapes() -> None:
    assert text_of(b"a\xffb") == r"a\xffb"
    assert text_of("\u00fc".encode()) == "\u00fc"


def test_a_retry_is_the_same_job_and_says_of_which() -> None:
    spec = JobSpec(["make"], env={"A": "b"}, time_limit=5)

    again = spec.as_retry_of("abcd")

    assert again.retry_of == "abcd"
    assert (again.command, again.env, again.time_limit) == (spec.command, spec.env, spec.time_limit)


def test_a_spec_does_not_change_with_what_it_was_made_from() -> None:
    words, env, labels = ["echo", "a"], {"A": "b"}, {"k": "v"}

    spec = JobSpec(words, env=env, labels=labels)
    words.append("b")
    env["C"] = labels["l"] = "d"

    assert spec.command == ("echo", "a")
    assert (dict(spec.env), dict(spec.labels)) == ({"A": "b"}, {"k": "v"})
