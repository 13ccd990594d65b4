"""Whatever workers, apps, operators, servers and clocks do, in whatever order: the store keeps its promises.

Every step is carried out on a server and on the model; both must say the same, answer and keys. What the product does
of its own accord is done here by hand: to read a claim back whose reply was lost, to lease anew, to tell a server that
was set back what runs and what has ended.

A failure prints the steps, and a line to repeat it with. ``--hypothesis-profile=long`` looks further.
"""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

from tests.properties.examining import Examined
from tests.servers import Server
from tests.store.test_lua_files import NAMES

STORIES = "long" if settings.get_current_profile_name() == "long" else "stories"


@pytest.mark.timeout(3_600)
def test_store_and_model_tell_the_same_story_in_which_every_script_has_a_part(server: Server) -> None:
    answers: set[tuple[str, str]] = set()
    story = type("Story", (Examined,), {"server_url": server.url, "answers": answers})

    run_state_machine_as_test(story, settings=settings.get_profile(STORIES))

    assert sorted({name for name, _ in answers}) == NAMES
