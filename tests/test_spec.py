"""A ``JobSpec`` that exists is valid; an invalid field is refused by name, and each option is declared once."""

from __future__ import annotations

import inspect
import math
import subprocess
import sys
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
)
from oneshot_queue.errors import InvalidJob
from oneshot_queue.spec import OPTIONS, JobSpec, Priority

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
def test_invalid_field_is_refused_by_name(field: str, wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidJob) as refused:
        JobSpec(**{"command": ["true"], **wrong})

    assert refused.value.field == field
    assert str(refused.value).startswith(f"{field}: ")


@pytest.mark.parametrize("field", DURATIONS)
@pytest.mark.parametrize("value", [-1, -0.001, math.nan, math.inf, -math.inf, MAX_DURATION_S + 1, "10", True, [1]])
def test_invalid_duration_is_refused(field: str, value: Any) -> None:
    with pytest.raises(InvalidJob) as refused:
        JobSpec(["true"], **{field: value})

    assert refused.value.field == field


@pytest.mark.parametrize("field", DURATIONS[:3])
@pytest.mark.parametrize("value", [0, 0.0, None])
def test_zero_switches_a_limit_off(field: str, value: Any) -> None:
    assert getattr(JobSpec(["true"], **{field: value}), field) is None


def test_grace_zero_stays_zero() -> None:
    assert JobSpec(["true"], grace=0).grace == 0.0


def test_defaults_are_the_documented_ones() -> None:
    spec = JobSpec(["true"])

    assert (spec.idle_after, spec.grace, spec.time_limit, spec.idle_timeout) == (60.0, 10.0, None, None)
    assert (spec.priority, spec.success_codes, spec.cwd, spec.stdin) == (Priority.NORMAL, (0,), None, None)


@patient
@given(st.lists(st.binary(min_size=1, max_size=50).filter(lambda word: b"\0" not in word), min_size=1, max_size=20))
def test_any_words_without_nul_are_a_command_and_stay_unchanged(words: list[bytes]) -> None:
    assert JobSpec(words).argv == tuple(words)


@patient
@given(st.text(min_size=1).filter(lambda word: "\0" not in word))
def test_any_text_is_encoded_as_utf8_or_refused(word: str) -> None:
    try:
        spec = JobSpec([word])
    except InvalidJob:
        with pytest.raises(UnicodeEncodeError):
            word.encode()
    else:
        assert spec.argv[0] == word.encode("utf-8", "surrogateescape")


@patient
@given(st.dictionaries(st.sampled_from(FIELDS), NONSENSE))
def test_any_values_are_accepted_or_refused_as_an_invalid_job(fields: dict[str, Any]) -> None:
    try:
        spec = JobSpec(["true"], **fields)
    except InvalidJob:
        return
    assert spec.command == ("true",)


def test_repr_shows_no_secret() -> None:
    spec = JobSpec(["true"], env={"PASSWORD": "hunter2"}, stdin=b"hunter2")

    assert "hunter2" not in repr(spec)
    assert "PASSWORD" in repr(spec)


def test_retry_of_a_job_is_the_same_job_with_its_id() -> None:
    spec = JobSpec(["make"], env={"A": "b"}, time_limit=5)

    again = spec.as_retry_of("abcd")

    assert again.retry_of == "abcd"
    assert (again.command, again.env, again.time_limit) == (spec.command, spec.env, spec.time_limit)


def test_spec_does_not_change_with_the_values_it_was_made_from() -> None:
    words, env, labels = ["echo", "a"], {"A": "b"}, {"k": "v"}

    spec = JobSpec(words, env=env, labels=labels)
    words.append("b")
    env["C"] = labels["l"] = "d"

    assert spec.command == ("echo", "a")
    assert (dict(spec.env), dict(spec.labels)) == ({"A": "b"}, {"k": "v"})


def test_every_option_is_documented_and_those_of_the_command_line_have_help() -> None:
    documentation = inspect.getdoc(JobSpec) or ""

    for name, option in OPTIONS.items():
        assert f"\n    {name}: " in documentation
        assert bool(option.help) is (option.words is not None)
        assert not option.help.endswith(".")
        assert bool(option.metavar) is (option.words not in (None, "flag"))
    assert {name for name, option in OPTIONS.items() if option.words is None} == {"command", "retry_of"}


def test_no_two_options_have_the_same_letter() -> None:
    letters = [option.short for option in OPTIONS.values() if option.short]

    assert len(set(letters)) == len(letters)


def test_spec_loads_no_state_machine() -> None:
    # The command line needs the options for its help, which must not load more than it shows.
    script = "import sys, oneshot_queue.spec; print(*sys.modules)"

    done = subprocess.run([sys.executable, "-P", "-c", script], capture_output=True, text=True, check=True)

    assert not {"statemachine", "asyncio", "msgpack", "typer"} & set(done.stdout.split())
