"""Standard output and standard error: colours, and streams that cannot be written."""

from __future__ import annotations

import os
import subprocess

from tests.support.command_line import PROGRAM, Cli
from tests.support.limits import limit_s
from tests.support.waiting import LIMIT_S


def test_only_terminals_that_support_colours_get_them(cli: Cli) -> None:
    cli("enqueue", "true")

    assert "\x1b[34mCREATED" in cli.on_terminal("ls").done().text
    assert "\x1b" not in cli.on_terminal("ls", env={"NO_COLOR": "1"}).done().text
    assert "\x1b" not in cli.on_terminal("ls", env={"TERM": "dumb"}).done().text


def test_output_that_cannot_be_written_is_reported(served: Cli) -> None:
    full = os.open("/dev/full", os.O_WRONLY)
    try:
        done = served.start("run", "echo", "hello", stdout=full).done()
    finally:
        os.close(full)

    assert done.code == 125
    assert "No space left on device" in done.err


def test_closed_descriptors_are_tolerated(served: Cli) -> None:
    done = subprocess.run(
        ["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", *PROGRAM, "run", "echo", "hello"],
        env=served.env,
        timeout=limit_s(2 * LIMIT_S),
        check=False,
    )

    assert done.returncode == 0
