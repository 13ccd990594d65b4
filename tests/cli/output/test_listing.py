"""What the listing verbs print when there is nothing to list."""

from __future__ import annotations

import pytest

from tests.support.command_line import Cli


@pytest.mark.thorough
def test_empty_list_prints_nothing_to_a_pipe_and_a_hint_to_a_terminal(cli: Cli) -> None:
    for verb, message in (("ls", "no jobs found"), ("queues", "no queues"), ("workers", "no live workers")):
        assert cli(verb).out == b""
        assert cli(verb, "--json").json == []
        assert message in cli.on_terminal(verb).done().text
