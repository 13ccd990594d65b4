"""``wait``: the exit code of one job, or whether all of several completed."""

from __future__ import annotations

import signal

import pytest

from oneshot_queue.errors import WaitTimedOut
from oneshot_queue.outcomes import Cause
from oneshot_queue.states import JobState
from tests.cli.pretend_worker import PretendWorker
from tests.support.command_line import Cli

FAILED, COMPLETED = JobState.FAILED, JobState.COMPLETED


@pytest.mark.parametrize(
    ("state", "cause", "fields", "code", "message"),
    [
        (COMPLETED, Cause.EXIT, {"exit_code": 0}, 0, None),
        (COMPLETED, Cause.EXIT, {"exit_code": 3}, 0, None),
        (FAILED, Cause.EXIT, {"exit_code": 3}, 3, "failed with exit code 3"),
        (FAILED, Cause.SIGNAL, {"signal": 15}, 143, "was killed by SIGTERM"),
        (FAILED, Cause.TIME_LIMIT, {"signal": 15}, 124, "reached its time limit"),
        (FAILED, Cause.IDLE_TIMEOUT, {}, 124, "was idle for too long"),
        (FAILED, Cause.SPAWN_ERROR, {"exit_code": 126, "error": "h: p: why"}, 126, "could not be started: h: p: why"),
        (FAILED, Cause.SPAWN_ERROR, {"exit_code": 127}, 127, "could not be started"),
        (JobState.INTERRUPTED, Cause.INTERRUPTED, {}, 130, "was interrupted"),
        (FAILED, Cause.WORKER_LOST, {}, 75, "was lost with its worker"),
        (FAILED, Cause.REJECTED, {"error": "unreadable"}, 125, "failed (rejected): unreadable"),
    ],
    ids=str,
)
def test_one_job_sets_the_exit_code(
    cli: Cli,
    pretender: PretendWorker,
    state: JobState,
    cause: Cause,
    fields: dict[str, object],
    code: int,
    message: str | None,
) -> None:
    job_id = cli("enqueue", "true").line
    claim = pretender.claim(job_id)
    running = cli.start("wait", job_id)

    pretender.finish(claim, state, cause, **fields)

    done = running.done()
    assert (done.code, done.out) == (code, b"")
    assert done.err == ("" if message is None else f"oneshot-queue: job {job_id} {message}\n")


def test_several_completed_jobs_exit_with_0_and_a_line_each(cli: Cli, pretender: PretendWorker) -> None:
    jobs = [cli("enqueue", "true").line for _ in range(2)]
    for job_id in jobs:
        pretender.finish(pretender.claim(job_id), COMPLETED, Cause.EXIT, exit_code=0)

    done = cli("wait", *jobs)

    assert done.code == 0
    assert done.err == "".join(f"oneshot-queue: job {job_id} completed\n" for job_id in jobs)


def test_several_jobs_exit_with_1_if_one_did_not_complete(cli: Cli, pretender: PretendWorker) -> None:
    good, bad, waiting = (cli("enqueue", "true").line for _ in range(3))
    pretender.finish(pretender.claim(good), COMPLETED, Cause.EXIT, exit_code=0)
    pretender.finish(pretender.claim(bad), FAILED, Cause.EXIT, exit_code=3)

    done = cli("wait", "--timeout", "0.1s", good, "nosuchjob", bad, waiting)

    assert done.code == 1
    lines = done.err.splitlines()
    assert len(lines) == 4
    assert "no job 'nosuchjob'" in lines[0], "before anything is waited for"
    assert f"job {good} completed" in lines[1]
    assert f"job {bad} failed with exit code 3" in lines[2]
    assert str(WaitTimedOut(waiting, "CREATED", 0.1)) in lines[3]


@pytest.mark.parametrize(
    "words", [["wait"], ["wait", "nosuchjob"], ["wait", "--timeout", "soon", "x"], ["wait", "--bogus", "x"]], ids=str
)
def test_own_errors_exit_with_125(cli: Cli, words: list[str]) -> None:
    assert cli(*words).code == 125


def test_an_unreachable_broker_exits_with_125(cli: Cli) -> None:
    done = cli("--url", "redis://127.0.0.1:1", "wait", "whatever")

    assert done.code == 125
    assert "is it running" in done.err


def test_a_timeout_exits_with_125_and_leaves_the_job_alone(cli: Cli, pretender: PretendWorker) -> None:
    job_id = cli("enqueue", "true").line

    done = cli("wait", "--timeout", "0.1s", job_id)

    assert done.code == 125
    assert str(WaitTimedOut(job_id, "CREATED", 0.1)) in done.err
    assert cli.job(job_id)["state"] == "CREATED"


def test_a_missing_worker_is_reported_at_once(cli: Cli) -> None:
    job_id = cli("enqueue", "true").line
    running = cli.start("wait", job_id)

    running.until("start one with: oneshot-queue worker -q default")

    running.signal(signal.SIGINT)
    done = running.done()
    assert done.code == 130
    assert cli.job(job_id)["state"] == "CREATED"
