"""The options of a job agree with ``JobSpec``; an invalid time is refused before anything is stored."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, get_type_hints

import pytest

from oneshot_queue.client.options import JobOptions, checked_when, spec_of
from oneshot_queue.errors import InvalidJob
from oneshot_queue.spec import OPTIONS, JobSpec
from oneshot_queue.store.enqueue import When

NOW_MS = 1_800_000_000_000
NOTHING: dict[str, Any] = {"delay": None, "at": None, "expires": None}


def when(**options: Any) -> When:
    return checked_when(**{**NOTHING, **options}, now_ms=NOW_MS)


def in_s(seconds: float) -> datetime:
    return datetime.fromtimestamp(NOW_MS / 1000 + seconds, tz=UTC)


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"delay": "5"}, "delay"),
        ({"delay": "5", "expires": 10}, "delay"),
        ({"delay": b"5", "expires": 10}, "delay"),
        ({"delay": [], "expires": 10}, "delay"),
        ({"delay": True, "expires": 10}, "delay"),
        ({"delay": float("nan"), "expires": 10}, "delay"),
        ({"delay": -1, "expires": 10}, "delay"),
        ({"delay": 5, "expires": "10"}, "expires"),
        ({"delay": 5, "at": in_s(5)}, "at"),
        ({"at": 5, "expires": 10}, "at"),
        ({"at": datetime(2027, 1, 1), "expires": 10}, "at"),  # noqa: DTZ001 - it is refused for the missing zone
        ({"expires": 0}, "expires"),
        ({"delay": 10, "expires": 10}, "expires"),
        ({"at": in_s(10), "expires": 10}, "expires"),
        ({"at": in_s(86_400), "expires": 10}, "expires"),
        ({"at": in_s(-5), "expires": 0}, "expires"),
    ],
    ids=str,
)
def test_invalid_time_is_refused(options: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidJob) as refusal:
        when(**options)

    assert refusal.value.field == field


def test_job_that_is_due_before_it_expires_is_accepted() -> None:
    assert when() == when(delay=0) == When()
    assert when(delay=5, expires=10) == When(delay_s=5.0, expires_s=10.0)
    assert when(at=in_s(9), expires=10) == When(at_ms=NOW_MS + 9_000, expires_s=10.0)
    assert when(at=in_s(-9), expires=10) == When(at_ms=NOW_MS - 9_000, expires_s=10.0)


def test_job_options_are_the_fields_of_a_spec_with_the_same_types() -> None:
    options, spec = get_type_hints(JobOptions), get_type_hints(JobSpec)

    # The command is an argument of its own, and retry_of is set by retry().
    assert options == {name: kind for name, kind in spec.items() if name not in ("command", "retry_of")}
    assert list(options) == [name for name, option in OPTIONS.items() if option.words]


def test_options_replace_the_fields_of_a_spec() -> None:
    spec = JobSpec(["make"], name="nightly", grace=1)

    again = spec_of(spec, {"grace": 2})

    assert (again.command, again.name, again.grace) == (("make",), "nightly", 2)
    assert spec_of(["make"], {"name": "nightly", "grace": 1}) == spec
