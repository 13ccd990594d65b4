"""Whatever workers, apps, operators, servers and clocks do, in whatever order: the store keeps its promises.

Every step is carried out on a server and on the model; both must say the same, answer and keys. What the product does
of its own accord is done here by hand: to read a claim back whose reply was lost, to lease anew, to tell a server that
was set back what runs and what has ended.

A failure prints the steps, and a line to repeat it with. ``--hypothesis-profile=long`` looks further.
"""

from __future__ import annotations

from contextlib import closing

import pytest
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

from tests.properties.examining import Examined
from tests.properties.jobs import Plan
from tests.store.test_lua_files import NAMES
from tests.support.servers import Server

STORIES = "long" if settings.get_current_profile_name() == "long" else "stories"


@pytest.mark.timeout(3_600)
def test_store_and_model_tell_the_same_story_in_which_every_script_has_a_part(server: Server) -> None:
    answers: set[tuple[str, str]] = set()

    run_state_machine_as_test(a_story(server, answers), settings=settings.get_profile(STORIES))

    # No story goes on after `erase`.
    assert sorted({name for name, _ in answers}) == [name for name in NAMES if name != "erase"]


def test_a_worker_that_speaks_too_late_takes_back_no_job_that_was_handed_on(server: Server) -> None:
    """A story that chance tells too seldom."""
    answers: set[tuple[str, str]] = set()
    story = a_story(server, answers)()
    with closing(story.world):
        story.begin_with_jobs([Plan()] * 3, 1)
        (late,) = story.workers[0].active

        story.set_back([0, 1, 2], is_one_late=True, times=1)
        story.claim(2, 1, is_lost=False)
        (other,) = story.workers[2].active
        story.give_back(story._active().index(other), is_counted=False, is_old=False, times=1)
        story.store_and_model_say_the_same()
        story.reconnect(0, times=2)

        story.store_and_model_say_the_same()

    assert (late.job_id, late.number) == (other.job_id, other.number)
    assert late.is_over
    assert ("adopt", "fenced") in answers


def a_story(server: Server, answers: set[tuple[str, str]]) -> type[Examined]:
    return type("Story", (Examined,), {"server_url": server.url, "answers": answers})
