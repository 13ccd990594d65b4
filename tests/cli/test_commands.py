"""The command line as a whole: help, version, suggestions, and which modules a verb loads."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys

import pytest

from oneshot_queue import __version__
from tests.support.command_line import PROGRAM, Cli

VERBS = "enqueue run worker interrupt ls show logs wait retry queues workers broker up doctor".split()


@pytest.fixture
def offline(cli: Cli) -> Cli:
    """A user whose broker does not exist: these commands must not need one."""
    cli.env["ONESHOT_QUEUE_URL"] = "redis://127.0.0.1:1"
    return cli


def test_no_arguments_prints_the_help(offline: Cli) -> None:
    done = offline()

    assert done.code == 0
    assert done.text == offline("--help").text == offline("-h").text
    for verb in VERBS:
        assert f"\n  {verb} " in done.text


@pytest.mark.thorough
@pytest.mark.parametrize(
    "verb", [[verb] for verb in VERBS] + [["broker", each] for each in ("status", "start", "stop")]
)
def test_every_verb_has_help_that_fits_a_screen(offline: Cli, verb: list[str]) -> None:
    done = offline(*verb, "-h")

    assert done.code == 0
    lines = done.text.splitlines()
    assert lines[0].startswith(f"Usage: oneshot-queue {' '.join(verb)}")
    assert len(lines) < 60
    assert all(len(line) <= 100 for line in lines)
    assert "--only-job" not in done.text


def test_version_is_one_line(offline: Cli) -> None:
    assert offline("--version").text == f"oneshot-queue {__version__}\n"


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("cancel", "interrupt"),
        ("kill", "interrupt"),
        ("stop", "interrupt"),
        ("enqeue", "enqueue"),
        ("log", "logs"),
        ("list", "ls"),
        ("wrokers", "workers"),
        ("interupt", "interrupt"),
    ],
)
def test_an_unknown_verb_suggests_one(offline: Cli, wrong: str, right: str) -> None:
    done = offline(wrong, "something")

    assert done.code == 2
    assert f"unknown command '{wrong}'; did you mean {right}" in done.err


def test_an_unknown_verb_without_a_match_lists_all_verbs(offline: Cli) -> None:
    done = offline("xyzzy")

    assert done.code == 2
    assert all(verb in done.err for verb in VERBS)


def test_a_wrong_option_points_to_the_help(offline: Cli) -> None:
    assert "see: oneshot-queue show -h" in offline("show", "--bogus").err


@pytest.mark.thorough
def test_help_and_version_load_no_redis_and_no_verb_loads_pydantic_or_rich(cli: Cli) -> None:
    script = (
        "import sys; from oneshot_queue.cli import main; main(sys.argv[1:]);"
        "print(*sorted({name.partition('.')[0] for name in sys.modules}), file=sys.stderr)"
    )

    def loaded(*words: str) -> set[str]:
        argv = [sys.executable, "-P", "-c", script, *words]
        done = subprocess.run(argv, env=cli.env, capture_output=True, text=True, check=True)
        return set(done.stderr.splitlines()[-1].split())

    slow = {"redis", "anyio", "statemachine", "msgpack", "asyncio"}
    for words in (["--version"], ["--help"], ["run", "--help"], ["xyzzy"]):
        assert not loaded(*words) & slow, words
    for words in (["--help"], ["ls"], ["enqueue", "true"]):
        assert not loaded(*words) & {"pydantic", "rich", "workers"}, words


def test_python_m_and_the_console_scripts_are_the_same(cli: Cli) -> None:
    programs = [
        (*PROGRAM[:1], "-P", "-m", "oneshot_queue"),
        *((f"{sys.prefix}/bin/{n}",) for n in ("oneshot-queue", "osq")),
    ]

    for program in programs:
        done = subprocess.run([*program, "--version"], env=cli.env, capture_output=True, text=True, check=True)
        assert done.stdout == f"oneshot-queue {__version__}\n"


def test_ctrl_c_while_the_broker_does_not_answer_exits_quietly_with_130(cli: Cli) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        terminal = cli.on_terminal("--url", f"redis://127.0.0.1:{silent.getsockname()[1]}", "ls")
        connection, _ = silent.accept()

        terminal.type(b"\x03")

        done = terminal.done()
        connection.close()
    assert done.code == 130
    assert done.text == "^C"


def test_a_closed_reader_ends_any_verb_quietly(cli: Cli) -> None:
    cli("enqueue", "true")
    reader, writer = os.pipe()
    os.close(reader)

    done = cli.start("ls", stdout=writer).done()

    os.close(writer)
    assert (done.code, done.err) == (128 + signal.SIGPIPE, "")


@pytest.mark.parametrize(
    "verb", ["enqueue", "run", "worker", "interrupt", "ls", "show", "logs", "wait", "retry", "doctor"]
)
def test_each_example_in_a_help_has_its_own_line(cli: Cli, verb: str) -> None:
    examples = [line.strip() for line in cli(verb, "-h").text.splitlines() if "oneshot-queue " in line]

    assert [line.split()[:2] for line in examples if not line.startswith("Usage")] != []
    assert all(line.startswith("oneshot-queue ") for line in examples if not line.startswith("Usage"))
    assert all(line.count("oneshot-queue ") == 1 for line in examples)
