"""How the worker processes of one supervisor share its options."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import pytest

from oneshot_queue import JobState
from oneshot_queue.settings import Settings
from oneshot_queue.workers.ipc.options import WorkerOptions
from tests.support.command_line import Terminal
from tests.support.deployment import Deployment
from tests.support.limits import limit_s
from tests.support.waiting import wait_until
from tests.support.worker_process import PROGRAM


def options(**changes: object) -> WorkerOptions:
    return WorkerOptions(url="redis://nowhere", **changes)  # type: ignore[arg-type]  # each has its field's kind


def test_slots_and_jobs_are_split_evenly_and_the_first_get_the_remainder() -> None:
    shares = list(options(concurrency=8, max_jobs=10, processes=3, name="bob").shares())

    assert [number for number, _ in shares] == [1, 2, 3]
    assert [share.concurrency for _, share in shares] == [3, 3, 2]
    assert [share.max_jobs for _, share in shares] == [4, 3, 3]
    assert [share.name for _, share in shares] == ["bob.1", "bob.2", "bob.3"]
    assert {share.processes for _, share in shares} == {1}


def test_single_process_gets_all_options_unchanged() -> None:
    ((number, share),) = options(concurrency=8, name="bob").shares()

    assert (number, share.concurrency, share.max_jobs, share.name) == (1, 8, None, "bob")


def test_process_that_would_have_no_job_to_run_is_left_out() -> None:
    assert [number for number, _ in options(concurrency=4, max_jobs=2, processes=4).shares()] == [1, 2]


def test_long_name_is_cut_so_that_the_number_fits() -> None:
    names = [share.name for _, share in options(concurrency=2, processes=2, name="n" * 64).shares()]

    assert names == [f"{'n' * 62}.1", f"{'n' * 62}.2"]


def test_options_come_back_as_they_were_sent() -> None:
    sent = options(queues=("a", "b"), settings=Settings(url="redis://:secret@host", lease_s=2.5), only_job="x")

    assert WorkerOptions.from_dict(json.loads(json.dumps(sent.as_dict()))) == sent
    assert "secret" not in repr(sent)


def test_processes_of_one_supervisor_are_shown_together(deployment: Deployment) -> None:
    worker = deployment.start_worker(
        concurrency=5, arguments=["--processes", "2", "--name", "bob", "--lease", "7s"], until_ready=False
    )
    worker.wait_for("worker ", times=2)

    shown = sorted(deployment.queue.workers(), key=lambda each: each.process)

    assert [(each.name, each.process, each.processes, each.concurrency) for each in shown] == [
        ("bob.1", 1, 2, 3),
        ("bob.2", 2, 2, 2),
    ]
    assert len({each.supervisor for each in shown}) == 1
    assert shown[0].supervisor
    assert {each.pid for each in shown} == set(worker.pids_of_workers)
    words = [sys.executable, "-P", "-m", "oneshot_queue", "--url", deployment.url, "workers"]
    environment = {**os.environ, "ONESHOT_QUEUE_NAMESPACE": deployment.settings.namespace}
    shown_on_terminal = Terminal(words, env=environment, columns=120).done().text
    lines = [line.split("bob")[0][-2:] for line in shown_on_terminal.splitlines() if "bob" in line]
    assert lines == ["┌ ", "└ "]
    worker.stop()


def test_max_jobs_is_exact_over_all_processes(deployment: Deployment) -> None:
    jobs = [deployment.enqueue() for _ in range(12)]
    worker = deployment.start_worker(
        concurrency=4, arguments=["--processes", "2", "--max-jobs", "7"], until_ready=False
    )

    assert worker.wait() == 0
    assert sum(job.refresh().state is JobState.COMPLETED for job in jobs) == 7
    assert deployment.entries() == 5


def test_replacement_gets_the_rest_of_max_jobs(deployment: Deployment) -> None:
    worker = deployment.start_worker(concurrency=1, arguments=["--max-jobs", "3"])
    assert deployment.enqueue().wait(timeout=limit_s(20)).state is JobState.COMPLETED
    os.kill(worker.worker_pid, signal.SIGKILL)
    worker.wait_for("worker ", times=2)
    jobs = [deployment.enqueue() for _ in range(4)]

    assert worker.wait() == 0
    assert sum(job.refresh().state is JobState.COMPLETED for job in jobs) == 2


def test_burst_exits_once_no_process_has_a_job(deployment: Deployment) -> None:
    jobs = [deployment.enqueue() for _ in range(20)]
    worker = deployment.start_worker(concurrency=4, arguments=["--processes", "2", "--burst"], until_ready=False)

    assert worker.wait() == 0
    assert {job.refresh().state for job in jobs} == {JobState.COMPLETED}
    assert deployment.witness.times("start") == {job.id: 1 for job in jobs}


def test_ctrl_c_on_a_terminal_counts_once(deployment: Deployment) -> None:
    worker = deployment.start_worker(concurrency=2, arguments=["--processes", "2"], until_ready=False)
    worker.wait_for("worker ", times=2)
    gate = deployment.witness.path.with_name("gate")
    jobs = [deployment.enqueue(f"while [ ! -e {gate} ]; do sleep 0.02; done") for _ in range(2)]
    deployment.witness.until_count("start", 2)

    # A terminal sends it to the whole group in its foreground.
    os.killpg(worker.pid, signal.SIGINT)
    wait_until(
        lambda: [each.may_take() for each in deployment.queue.workers()] == [False] * 2, what="both to be draining"
    )
    gate.touch()

    assert worker.wait() == 0
    assert {job.refresh().state for job in jobs} == {JobState.COMPLETED}


def test_refused_broker_is_reported_once_for_all_processes() -> None:
    done = subprocess.run(
        [*PROGRAM, "--url", "redis://127.0.0.1:1", "-c", "4", "--processes", "4"],
        capture_output=True,
        text=True,
        timeout=limit_s(50),
        check=False,
    )

    assert done.returncode == 5
    assert done.stderr.count("is it running") == 1


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["-c", "2", "--processes", "3"], "use -c 3"),
        (["--processes", "0"], "--processes"),
        (["--lease", "0.5s"], "--lease"),
        (["--max-jobs", "0"], "--max-jobs"),
    ],
)
def test_invalid_options_are_rejected_before_anything_is_started(words: list[str], expected: str) -> None:
    done = subprocess.run([*PROGRAM, *words], capture_output=True, text=True, timeout=limit_s(50), check=False)

    assert (done.returncode, done.stdout) == (2, "")
    assert expected in done.stderr


@pytest.mark.parametrize("is_named", [True, False], ids=["--url", "environment"])
def test_supervisor_never_loads_redis_nor_an_event_loop(deployment: Deployment, is_named: bool) -> None:
    words = ["worker", "--burst", "--quiet", "-q", deployment.queue_name]
    environment = {**os.environ, "XDG_STATE_HOME": str(deployment.state_folder)}
    if is_named:
        words += ["--url", deployment.url]
    else:
        environment["ONESHOT_QUEUE_URL"] = deployment.url
    program = f"import sys; from oneshot_queue.cli import main; code = main({words!r}); print(code, *sys.modules)"

    done = subprocess.run(
        [sys.executable, "-P", "-c", program],
        env=environment,
        capture_output=True,
        text=True,
        timeout=limit_s(50),
        check=True,
    )

    code, *modules = done.stdout.split()
    assert (code, done.stderr) == ("0", "")
    assert {"redis", "asyncio", "anyio", "msgpack"}.isdisjoint(modules)
