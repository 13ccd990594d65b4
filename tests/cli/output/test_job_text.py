"""A job in ``ls`` and ``show``: untrusted text is escaped."""

from __future__ import annotations

import pytest

from tests.support.command_line import Cli


@pytest.mark.thorough
def test_control_characters_are_escaped_in_pipes_and_on_terminals(cli: Cli) -> None:
    job_id = cli("enqueue", "echo", "\x1b]0;owned\x07", "\u202egnp.exe", b"\x9b31m").line
    cli("interrupt", "--reason", "\x1b[2J", job_id)

    for words in (["ls"], ["show", job_id]):
        for text in (cli(*words).text, cli.on_terminal(*words, columns=200, env={"NO_COLOR": "1"}).done().text):
            assert "\x1b" not in text
            assert "\u202e" not in text
            assert "\\x1b]0;owned\\x07" in text
            assert "\\u202egnp.exe" in text
    assert cli.job(job_id)["command"][3] == "\\x9b31m"
