"""``interrupt``: every state, every exit code, one line or JSON object per job."""

from __future__ import annotations

import os
from typing import Any

import pytest

from oneshot_queue.outcomes import Cause
from oneshot_queue.states import JobState
from tests.cli.pretend_worker import PretendWorker
from tests.support.cases import case
from tests.support.command_line import Cli
from tests.support.leftovers import is_alive
from tests.support.waiting import wait_until


def _running(cli: Cli, *command: str) -> str:
    job_id = cli("enqueue", *(command or ("sleep", "60"))).line
    wait_until(lambda: cli.job(job_id)["pid"])
    return job_id


def test_a_waiting_job_ends_at_once_without_a_worker(cli: Cli) -> None:
    job_id = cli("enqueue", "true").line

    done = cli("interrupt", job_id)

    assert (done.code, done.text) == (0, f"{job_id}  interrupted\n")
    assert cli.job(job_id)["state"] == "INTERRUPTED"


@pytest.mark.thorough
def test_a_running_job_is_gone_when_the_verb_returns(served: Cli) -> None:
    job_id = _running(served)
    pid = served.job(job_id)["pid"]

    done = served("interrupt", "--reason", "wrong branch", job_id)

    assert done.code == 0
    assert not is_alive(pid)
    job = served.job(job_id)
    assert (job["state"], job["cause"], job["reason"]) == ("INTERRUPTED", "interrupted", "wrong branch")


def test_now_kills_a_job_that_ignores_sigterm(served: Cli) -> None:
    job_id = _running(served, "--grace", "1h", "sh", "-c", "trap '' TERM; while :; do sleep 0.01; done")

    assert served("interrupt", "--now", job_id).code == 0

    assert served.job(job_id)["state"] == "INTERRUPTED"


def test_grace_is_the_time_from_sigterm_to_sigkill(served: Cli) -> None:
    job_id = _running(served, "--grace", "1h", "sh", "-c", "trap '' TERM; while :; do sleep 0.01; done")

    assert served("interrupt", "--grace", "0.1s", job_id).code == 0


def test_no_wait_returns_once_the_interrupt_is_recorded(cli: Cli, pretender: PretendWorker) -> None:
    job_id = cli("enqueue", "true").line
    pretender.claim(job_id)

    done = cli("interrupt", "--no-wait", job_id)

    assert (done.code, done.text) == (0, f"{job_id}  interrupt recorded; still RUNNING\n")
    job = cli.job(job_id)
    assert job["interrupting"] is True
    assert job["interrupt_requested_at"] is not None


@case("N10")
def test_a_job_that_already_ended_exits_with_4(cli: Cli) -> None:
    job_id = cli("enqueue", "true").line
    cli("interrupt", job_id)

    done = cli("interrupt", job_id)

    assert (done.code, done.text) == (4, f"{job_id}  already ended: INTERRUPTED\n")


def test_a_job_that_ends_by_itself_first_exits_with_4(cli: Cli, pretender: PretendWorker) -> None:
    job_id = cli("enqueue", "true").line
    claim = pretender.claim(job_id)
    running = cli.start("interrupt", job_id)
    wait_until(lambda: cli.job(job_id)["interrupting"])

    pretender.finish(claim, JobState.COMPLETED, Cause.EXIT, exit_code=0)

    done = running.done()
    assert (done.code, done.text) == (4, f"{job_id}  ended by itself first: COMPLETED\n")


def test_an_interrupt_that_is_not_confirmed_in_time_exits_with_6(cli: Cli, pretender: PretendWorker) -> None:
    job_id = cli("enqueue", "true").line
    pretender.claim(job_id)

    done = cli("interrupt", "--timeout", "0.2s", job_id)

    assert done.code == 6
    assert done.text.startswith(f"{job_id}  interrupt recorded, end not confirmed; still RUNNING; ")
    assert "worker pretender" in done.text


def test_a_dead_worker_is_reported(cli: Cli) -> None:
    with PretendWorker(cli.env["ONESHOT_QUEUE_URL"], cli.namespace, is_seen=False) as dead:
        job_id = cli("enqueue", "true").line
        dead.claim(job_id)

        done = cli("interrupt", "--timeout", "0.2s", job_id)

    assert done.code == 6
    assert "end not confirmed; still RUNNING; its worker" in done.text


def test_one_failure_of_several_exits_with_1_and_the_others_are_interrupted(cli: Cli) -> None:
    one, two = cli("enqueue", "true").line, cli("enqueue", "-q", "other", "true").line

    done = cli("interrupt", one, "nosuchjob", two)

    assert done.code == 1
    assert done.text == f"{one}  interrupted\nnosuchjob  no such job\n{two}  interrupted\n"
    assert "no job 'nosuchjob'" in done.err


def test_interrupts_of_several_queues_are_recorded_before_waiting(cli: Cli) -> None:
    url = cli.env["ONESHOT_QUEUE_URL"]
    with PretendWorker(url, cli.namespace, "one") as first, PretendWorker(url, cli.namespace, "two") as second:
        jobs = [cli("enqueue", "-q", queue, "true").line for queue in ("one", "two")]
        claims = first.claim(jobs[0]), second.claim(jobs[1])
        running = cli.start("interrupt", "--timeout", "20s", *jobs)

        wait_until(lambda: cli.job(jobs[1])["interrupting"])
        assert running.process.poll() is None
        second.finish(claims[1], JobState.INTERRUPTED, Cause.INTERRUPTED)
        first.finish(claims[0], JobState.COMPLETED, Cause.EXIT, exit_code=0)

        done = running.done()
    assert done.code == 1
    assert done.text == f"{jobs[0]}  ended by itself first: COMPLETED\n{jobs[1]}  interrupted\n"


def test_several_names_of_one_job_count_once(cli: Cli) -> None:
    job_id = cli("enqueue", "true").line

    done = cli("interrupt", job_id, job_id[:6], "last")

    assert done.code == 0
    assert cli.job(job_id)["state"] == "INTERRUPTED"


@pytest.mark.thorough
def test_all_interrupts_a_whole_queue_and_no_other(cli: Cli, pretender: PretendWorker) -> None:
    waiting = [cli("enqueue", "-q", "builds", "true").line for _ in range(3)]
    elsewhere = cli("enqueue", "true").line

    done = cli("interrupt", "-q", "builds", "--all", "--yes")

    assert done.code == 0
    assert {line.split()[0] for line in done.text.splitlines()} == set(waiting)
    assert cli.job(elsewhere)["state"] == "CREATED"
    again = cli("interrupt", "-q", "builds", "--all", "--yes")
    assert (again.code, again.out) == (0, b"")
    assert "queue builds has no waiting or running jobs" in again.err


@pytest.mark.thorough
@pytest.mark.parametrize(("answer", "code", "state"), [(b"y\n", 0, "INTERRUPTED"), (b"n\n", 130, "CREATED")])
def test_all_asks_for_confirmation_on_a_terminal(cli: Cli, answer: bytes, code: int, state: str) -> None:
    job_id = cli("enqueue", "-q", "builds", "true").line
    terminal = cli.on_terminal("interrupt", "-q", "builds", "--all")
    terminal.until("Interrupt 1 job of queue builds? [y/N]")

    terminal.type(answer)

    assert terminal.done().code == code
    assert cli.job(job_id)["state"] == state


def test_json_has_one_object_per_job(cli: Cli, pretender: PretendWorker) -> None:
    waiting, held = cli("enqueue", "true").line, cli("enqueue", "true").line
    pretender.claim(held)

    reports = cli("interrupt", "--json", "--no-wait", waiting, held, "nosuchjob").json

    ended_at = cli.job(waiting)["ended_at"]
    assert reports == [
        {"id": waiting, "state": "INTERRUPTED", "ended_at": ended_at, "result": "interrupted", "confirmed": True},
        {"id": held, "state": "RUNNING", "ended_at": None, "result": "recorded", "confirmed": True},
        {"id": "nosuchjob", "state": None, "ended_at": None, "result": "not_found", "confirmed": True},
    ]
    assert ended_at is not None


def test_every_result_has_its_json_value(cli: Cli, pretender: PretendWorker) -> None:
    def results(*words: str) -> list[Any]:
        return [(report["state"], report["result"]) for report in cli("interrupt", "--json", *words).json]

    held, ended = cli("enqueue", "true").line, cli("enqueue", "true").line
    pretender.claim(held)
    cli("interrupt", ended)

    assert results(ended) == [("INTERRUPTED", "already_final")]
    assert results("--timeout", "0", held) == [("RUNNING", "not_confirmed")]


def test_ctrl_c_stops_waiting_and_leaves_the_interrupt_recorded(cli: Cli, pretender: PretendWorker) -> None:
    job_id = cli("enqueue", "--id", f"held-{os.urandom(4).hex()}", "true").line
    pretender.claim(job_id)
    terminal = cli.on_terminal("interrupt", job_id)
    wait_until(lambda: cli.job(job_id)["interrupting"])

    terminal.type(b"\x03")

    assert terminal.done().code == 130
    assert cli.job(job_id)["interrupting"] is True
