"""Which names are valid."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from oneshot_queue.checks import NAME_PATTERN, checked_id, checked_name
from oneshot_queue.errors import InvalidJob

# On a busy machine, drawing the first example can take seconds.
patient = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


@patient
@given(st.from_regex(NAME_PATTERN, fullmatch=True))
def test_name_that_matches_the_pattern_is_accepted(name: str) -> None:
    assert checked_name("name", name) == name


@patient
@given(st.text(max_size=70).filter(lambda name: not NAME_PATTERN.fullmatch(name)))
def test_every_other_name_is_refused(name: str) -> None:
    with pytest.raises(InvalidJob):
        checked_name("name", name)


def test_last_is_not_a_valid_id_because_it_is_reserved() -> None:
    with pytest.raises(InvalidJob, match="'last'"):
        checked_id("last")
