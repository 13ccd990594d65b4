"""``ls``: filters, order, and what it prints to programs and to people."""

from __future__ import annotations

import pytest

from tests.support.command_line import Cli


def _columns(line: str) -> int:
    return sum(2 if each > "\u2e80" else 1 for each in line)


def test_json_is_the_job_of_show_without_history(cli: Cli) -> None:
    job_id = cli("enqueue", "true").line

    (job,) = cli("ls", "--json").json

    shown = cli.job(job_id)
    del shown["history"]
    assert job == shown


@pytest.mark.thorough
def test_most_recent_change_is_listed_first_up_to_the_limit(cli: Cli) -> None:
    first, second, third = (cli("enqueue", "true").line for _ in range(3))
    cli("interrupt", first)

    def listed(*words: str) -> list[str]:
        return [job["id"] for job in cli("ls", "--json", *words).json]

    assert listed() == [first, third, second]
    assert listed("--limit", "2") == [first, third]
    assert cli("ls", "--json", "-q", "empty").json == []


@pytest.mark.thorough
def test_jobs_are_filtered_by_queue_state_and_label(cli: Cli) -> None:
    web = cli("enqueue", "-l", "team=web", "-l", "env=prod", "true").line
    other = cli("enqueue", "-q", "builds", "-l", "team=core", "true").line
    cli("interrupt", other)

    def listed(*words: str) -> set[str]:
        return {job["id"] for job in cli("ls", "--json", *words).json}

    assert listed() == {web, other}
    assert listed("-q", "builds") == {other}
    assert listed("-s", "CREATED") == {web}
    assert listed("-s", "created", "-s", "INTERRUPTED") == {web, other}
    assert listed("-l", "team=web", "-l", "env=prod") == {web}
    assert listed("-l", "team=web", "-l", "env=test") == set()


def test_a_pipe_gets_plain_columns_with_full_ids_and_no_titles(cli: Cli) -> None:
    job_id = cli("enqueue", "-n", "nightly", "--", "sh", "-c", "echo 'a  b'", "x" * 200).line

    line = cli("ls").line

    fields = line.split(None, 7)
    assert fields[:3] == [job_id, "default", "CREATED"]
    assert fields[4:] == ["-", "-", "nightly", f"""sh -c 'echo '"'"'a  b'"'"'' {"x" * 200}"""]
    assert "\t" not in line
    assert "\x1b" not in line


@pytest.mark.thorough
@pytest.mark.parametrize("columns", [40, 60, 80, 200])
def test_a_terminal_gets_a_table_that_fits(cli: Cli, columns: int) -> None:
    job_id = cli("enqueue", "-q", "builds", "-n", "nightly", "--", "echo", "word " * 60).line
    cli("interrupt", cli("enqueue", "日本語" * 40).line)

    lines = cli.on_terminal("ls", columns=columns, env={"NO_COLOR": "1"}).done().text.splitlines()

    assert len(lines) == 3
    assert lines[0].split()[0] == "ID"
    assert "COMMAND" in lines[0]
    assert lines[2].startswith(job_id[:8])
    assert job_id not in lines[2]
    assert all(_columns(line) <= columns for line in lines)
    assert "INTERRUPTED" in lines[1]
