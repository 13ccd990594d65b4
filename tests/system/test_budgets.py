"""The cost of one ``/bin/true``, counted rather than timed: the same on every machine.

The worker has one slot, so that every job has its own claim and result. Each figure is the difference of two runs with
different numbers of jobs, which cancels out the worker's start and end. The budgets are in ``budgets.toml``.
"""

from __future__ import annotations

import json
import shutil
import statistics
import subprocess
import sys
import time
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import pytest

from tests.support.deployment import Deployment
from tests.support.faults import Monitor
from tests.support.waiting import wait_until
from tests.support.worker_process import PROGRAM

BUDGETS: Final = tomllib.loads(Path(__file__).with_name("budgets.toml").read_text("utf-8"))
FEW, MANY = 100, 500
LIMIT_S: Final = 90.0
COUNTING: Final = (sys.executable, "-P", str(Path(__file__).with_name("counting_worker.py")))
IDLE_S: Final = 30.0
"""A multiple of the period of every periodic task."""
SETTLED_S: Final = 12.0
OTHERS: Final = 5
YARDSTICKS: Final = 1_000
TRIES: Final = 3

Counts = Mapping[str, float]


@pytest.mark.thorough
def test_cost_of_a_job_to_its_server_is_within_budget(real_deployment: Deployment) -> None:
    run_jobs(real_deployment, 10)  # loads the scripts

    measured: dict[str, list[Counts]] = {"enqueue": [], "run": []}
    for _ in range(TRIES):
        few, many = run_jobs(real_deployment, FEW), run_jobs(real_deployment, MANY)
        yard_us = yardstick_us(real_deployment)
        for number, costs in enumerate(measured.values()):
            cost = per_job(few[number], many[number])
            costs.append(cost | {"script_time": cost["script_time"] / yard_us})

    for kind, costs in measured.items():
        # Other work on the machine can only add to it.
        check(kind, {name: min(cost[name] for cost in costs) for name in costs[0]})


def test_cost_of_a_job_to_its_worker_is_within_budget(real_deployment: Deployment, tmp_path: Path) -> None:
    counts = []
    for count in (FEW, MANY):
        run_jobs(real_deployment, count, program=(*COUNTING, str(tmp_path / "counts")))
        counts.append(json.loads((tmp_path / "counts").read_text()))

    check("worker", per_job(*counts))


@pytest.mark.thorough
def test_cost_of_a_job_to_the_kernel_is_within_budget(real_deployment: Deployment, tmp_path: Path) -> None:
    strace = shutil.which("strace")
    if strace is None or subprocess.run([strace, "-qq", "-o", "/dev/null", "true"], check=False).returncode != 0:
        pytest.skip("strace is not installed, or not permitted")
    counts = []
    for count in (FEW, MANY):
        counting = (strace, "-f", "-qq", "-c", "-U", "calls,name", "-o", str(tmp_path / "calls"))
        run_jobs(real_deployment, count, program=(*counting, *PROGRAM))
        *_, total = (tmp_path / "calls").read_text().splitlines()
        counts.append({"system_calls": float(total.split()[0])})

    check("kernel", per_job(*counts))


@pytest.mark.thorough
@pytest.mark.timeout(180)
def test_calls_of_an_idle_worker_are_within_budget(real_deployment: Deployment) -> None:
    def calls_in_a_while() -> float:
        before = monitor.count_sent()
        time.sleep(IDLE_S)  # the calls during this time are counted
        return monitor.count_sent() - before

    with Monitor(real_deployment.url) as monitor:
        real_deployment.start_worker(concurrency=1)
        time.sleep(SETTLED_S)  # by now it is the sweeper of the queue
        alone = calls_in_a_while()
        real_deployment.start_worker(concurrency=OTHERS, arguments=["--processes", str(OTHERS)])
        wait_until(real_deployment.queue.workers, lambda live: len(live) == 1 + OTHERS, what="all workers")
        time.sleep(SETTLED_S)
        together = calls_in_a_while()

    check("idle", {"calls": (together - alone) / OTHERS / IDLE_S})


def run_jobs(deployment: Deployment, count: int, *, program: Sequence[str] = PROGRAM) -> tuple[Counts, Counts]:
    """Enqueue jobs and run them in one worker process; returns the server's counts for enqueueing and for running."""
    at_first = server_counts(deployment)
    deployment.queue.enqueue_many([["/bin/true"]] * count)
    stored = server_counts(deployment)
    worker = deployment.start_worker(
        concurrency=1, arguments=["--burst", "--quiet"], program=program, until_ready=False
    )
    assert worker.wait(LIMIT_S) == 0
    ended = server_counts(deployment)
    return (
        {name: stored[name] - at_first[name] for name in stored},
        {name: ended[name] - stored[name] for name in stored},
    )


def yardstick_us(deployment: Deployment) -> float:
    """The time of the smallest write in a script here, in µs: the unit for the time of other scripts."""
    script = f"for i = 1, {YARDSTICKS} do redis.call('HSET', KEYS[1], 'field', i) end"
    spans = []
    for _ in range(5):
        before = server_counts(deployment)["script_time"]
        deployment.redis.eval(script, 1, f"{deployment.keys.prefix}:yardstick")
        spans.append((server_counts(deployment)["script_time"] - before) / YARDSTICKS)
    deployment.redis.delete(f"{deployment.keys.prefix}:yardstick")
    return statistics.median(spans)


def server_counts(deployment: Deployment) -> Counts:
    """The statistics of a server so far."""
    stats: dict[str, Any] = deployment.redis.info("stats")
    commands = deployment.redis.info("commandstats")
    calls = {name: each["calls"] for name, each in commands.items()}
    return {
        "script_time": sum(commands.get(f"cmdstat_{name}", {"usec": 0})["usec"] for name in ("eval", "evalsha")),
        "commands": sum(calls.values()),
        "scripts": calls.get("cmdstat_evalsha", 0) + calls.get("cmdstat_eval", 0),
        "exchanges": stats["total_reads_processed"],
        "bytes_received": stats["total_net_input_bytes"],
        "bytes_sent": stats["total_net_output_bytes"],
    }


def per_job(few: Counts, many: Counts) -> dict[str, float]:
    """The cost of one more job."""
    return {name: (many[name] - few[name]) / (MANY - FEW) for name in many}


def check(kind: str, cost: Counts) -> None:
    """Compare costs with the budgets of their kind.

    Raises:
        AssertionError: A cost exceeds its budget.
    """
    budget = BUDGETS[kind]
    assert set(cost) == set(budget), "every figure must have a budget"
    exceeded = [
        f"{kind}: {cost[name]:.2f} {name} exceed the budget of {budget[name]}"
        for name in cost
        if cost[name] > budget[name]
    ]
    assert not exceeded, "; ".join(exceeded)
