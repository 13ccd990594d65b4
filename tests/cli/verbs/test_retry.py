"""``retry``: a new job with the same spec."""

from __future__ import annotations

import os

from tests.support.command_line import Cli


def test_retry_enqueues_a_copy_and_prints_its_id(served: Cli) -> None:
    first = f"first-{os.urandom(4).hex()}"
    served("run", "--id", first, "-n", "twice", "-l", "k=v", "--stdin", "-", "cat", stdin=b"again and again")

    done = served("retry", first)

    assert served("wait", done.line).code == 0
    again = served.job("last")
    assert again["id"] == done.line
    assert (again["retry_of"], again["name"], again["labels"]) == (first, "twice", {"k": "v"})
    assert served("logs", done.line).out == b"again and again"


def test_copy_goes_to_the_queue_of_the_job(cli: Cli) -> None:
    job_id = cli("enqueue", "-q", "builds", "true").line

    assert cli.job(cli("retry", job_id).line)["queue"] == "builds"
