"""The store keeps its promises, whatever workers, apps, operators, servers and clocks do, in any order.

A story is a random sequence of steps. Each step runs on a server and on the model; replies and keys must be equal. The
story does itself what a worker does on its own: read back a claim whose reply was lost, take a new lease, and report
results and running jobs to a server that was rolled back.

A failure prints the steps and a line that reproduces it. ``--hypothesis-profile=long`` tries more and longer stories.
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


@pytest.mark.thorough
@pytest.mark.timeout(3_600)
def test_store_and_model_agree_in_stories_that_run_every_script(server: Server) -> None:
    answers: set[tuple[str, str]] = set()

    run_state_machine_as_test(a_story(server, answers), settings=settings.get_profile(STORIES))

    # A story cannot go on after `erase`.
    assert sorted({name for name, _ in answers}) == [name for name in NAMES if name != "erase"]


def test_worker_that_reports_too_late_takes_back_no_job_of_another(server: Server) -> None:
    """A sequence that random steps produce too rarely."""
    answers: set[tuple[str, str]] = set()
    story = a_story(server, answers)()
    with closing(story.world):
        story.begin_with_jobs([Plan()] * 3, 1)
        (late,) = story.workers[0].active

        story.roll_back([0, 1, 2], is_one_late=True, times=1)
        story.claim(2, 1, is_lost=False)
        (other,) = story.workers[2].active
        story.give_back(story._active().index(other), is_counted=False, is_old=False, times=1)
        story.store_and_model_agree()
        story.reconnect(0, times=2)

        story.store_and_model_agree()

    assert (late.job_id, late.number) == (other.job_id, other.number)
    assert late.is_over
    assert ("adopt", "fenced") in answers


def a_story(server: Server, answers: set[tuple[str, str]]) -> type[Examined]:
    return type("Story", (Examined,), {"server_url": server.url, "answers": answers})
