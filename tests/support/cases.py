"""The catalogue of faults: what each case does, what must hold, and which tests prove it.

Print it with ``python -m tests.support.cases``. A test in any folder names its cases with ``@case("N3")``. The gaps in
the numbers are cases that are not covered yet.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

_TESTS: Final = Path(__file__).parent.parent

CASES: Final[dict[str, str]] = {
    # Delivery
    "D1": "Run 1,000 jobs on four workers without any fault: each job starts exactly once and nothing stays queued.",
    "D2": "Kill a worker at each crash point between claim and result: each job gets one result, and no attempt starts "
    "twice.",
    "D3": "Kill a random worker every second under 2,000 jobs with retries: every job gets a result, one start per "
    "attempt.",
    "D4": "Freeze a worker beyond its lease while its jobs are settled: when it wakes, its writes are refused and its "
    "processes end.",
    "D5": "Freeze a worker for less than its lease: its jobs run on, and nothing starts twice.",
    "D6": "Block the event loop of a worker that runs an exclusive job: the job is killed before its lease ends.",
    "D7": "Lose the reply to an enqueue and repeat it with the same id: there is one job, reported as not created.",
    "D8": "Enqueue one id from many tasks at once: exactly one job is created.",
    "D9": "Put entries and job specs on the queue that cannot be read: they are set aside or rejected and counted, and "
    "other jobs run.",
    "D10": "Let every worker that claims a job die before it starts it: after some returns the job fails as poison.",
    "D11": "Let a delayed job become due with no worker running, or with ten that promote it at once: it runs once.",
    "D12": "Set the clock of a worker an hour wrong, or step that of Redis: leases and delays stay correct.",
    "D13": "Enqueue jobs of three priorities: one slot runs them in strict order, and no worker exceeds its slots.",
    "D14": "Share 400 short jobs between a slow and a fast worker: neither holds more jobs than it has slots.",
    "D15": "Delete the consumer of a worker that holds jobs: the jobs without a pending entry are found and repaired.",
    "D16": "Restart a killed worker under the same name: each job that it held is settled once.",
    "D17": "Cancel a claim at hundreds of random moments: no job is lost or handed out twice.",
    "D18": "Enqueue 10,000 jobs at once, of which five per cent are invalid: the valid ones are stored, the others are "
    "named.",
    # Interrupts
    "N1": "Interrupt a waiting job while no worker runs: it is interrupted at once and never starts.",
    "N2": "Interrupt a running job and wait: when the call returns, its whole process tree is gone.",
    "N3": "Cut every subscriber off again and again during an interrupt: the next lease renewal delivers it.",
    "N4": "Drop everything that passes on the subscriptions: the next lease renewal delivers an interrupt.",
    "N5": "Interrupt a command that ignores SIGTERM: it gets SIGKILL when its grace is over.",
    "N6": "Interrupt a command that is stopped by SIGSTOP: it ends within its grace.",
    "N7": "Interrupt a job between its claim and its start: it never starts, or its record agrees with what ran.",
    "N8": "Interrupt jobs at the moment they end: each has one result, and the reported result is the stored one.",
    "N9": "Interrupt one job from 20 clients at once: all calls succeed, and its history has one result.",
    "N10": "Interrupt a finished or an unknown job: the answer says so, nothing is written, and that id stays usable.",
    "N11": "Interrupt a job and kill its worker before it acts: the job ends INTERRUPTED, and is not retried.",
    "N12": "Deliver an interrupt of attempt 1 while attempt 2 runs: attempt 2 goes on.",
    "N13": "Interrupt a delayed job: it leaves the delayed set and never starts.",
    "N14": "Interrupt a job while Redis is away: the command line fails fast with exit code 5, and nothing is half "
    "done.",
    "N15": "Interrupt 5,000 jobs in one call: all end, and the work per script does not grow with their number.",
    # Processes
    "P1": "Interrupt a job whose processes escaped by setsid, nohup or a double fork: none of them is left.",
    "P2": "Let a grandchild hold stdout after its command exits: the job completes without waiting for it.",
    "P3": "SIGKILL a worker process: its jobs' processes are gone within two seconds, and its jobs are marked lost.",
    "P4": "SIGKILL the supervisor, or the supervisor with its workers: no process of a job outlives the next start.",
    "P5": "Interrupt a job that forks many processes, or forks without end: no process is left.",
    "P6": "Let a job write output at full speed: memory stays bounded, other jobs run, and an interrupt takes under a "
    "second.",
    "P8": "Let commands close stdout or stderr early, or write to stderr alone: the worker stays idle and sees them "
    "exit.",
    "P9": "Run commands that cannot start: each job fails as a spawn error that names the cause, and the worker goes "
    "on.",
    "P10": "Take the file descriptors from a worker: the job returns to the queue uncounted, and runs later.",
    "P11": "Kill a job's process with a foreign signal: the job fails by that signal, and is not INTERRUPTED.",
    "P12": "Let a job exceed its time limit: it gets SIGTERM, then SIGKILL, and fails with that limit as the cause.",
    "P14": "Ask a worker to stop once, twice and three times: it drains, interrupts, then kills, and leaves no trace.",
    "P15": "Run hundreds of short jobs in a row: descriptors, threads and children return to their former number.",
    "P16": "Run a job that prints its environment: no secret of the worker appears in its output, logs or Redis "
    "traffic.",
    "P17": "List the descriptors of a command: it has 0, 1 and 2 and no others.",
    "P18": "Start a worker with signals ignored, as nohup does: the worker and its jobs still react to them.",
    "P20": "Give the process id of a finished command to another process: that process never gets a signal.",
    # Redis faults
    "R1": "Restart Redis on its data while jobs run: they finish, their results are recorded, and none starts twice.",
    "R2": "Kill Redis and cut the last writes from its file: workers report them again, and no job starts twice.",
    "R3": "Freeze Redis while jobs run and producers enqueue: no job is duplicated or started twice.",
    "R4": "Empty Redis while jobs run: their processes end, and the worker takes new jobs at a low rate of errors.",
    "R5": "Flush the script cache at any time: every call still succeeds.",
    "R6": "Fill Redis to its memory limit: an enqueue reports a full queue, running jobs finish, and interrupts work.",
    "R7": "Fail over to a replica, also with the old primary cut off: jobs run on, and an outdated worker is refused.",
    "R8": "Promote a replica that misses the last claims and results: none of those jobs starts again.",
    "R10": "Let Redis refuse commands for a while: jobs survive it, and a wrong password is reported.",
    "R11": "Delay, split, drop or reset what passes between clients and Redis: no client gets the reply of another.",
    "R12": "Reach the connection limit of Redis: the worker backs off, and works again when it is let in.",
    "R13": "Pause all clients, or kill their connections again and again: jobs are delayed, and each runs once.",
    "R14": "Store a value of another type at a queue's key: it is reported, never overwritten, and other jobs run.",
    "R15": "Start a worker on a Redis that evicts keys: the worker refuses to run.",
    # Malformed data
    "V7": "Mutate packed job specs, or build them as memory bombs: each is rejected or valid, and costs little.",
    "V8": "Publish noise on the control channel: it is ignored and counted, and interrupts still work.",
    "V9": "Damage fields of a job's record: the damage is reported, and the worker and other jobs go on.",
    "V10": "Try every event in every state: the state machine, its table and the scripts agree.",
}
"""Name of a case -> what is done, and what must hold."""

MISSING: Final[dict[str, str]] = {}
"""Name of a case without a test -> the reason."""


def case(*names: str) -> pytest.MarkDecorator:
    """Mark a test as proof of these cases.

    Raises:
        ValueError: There is no such case.
    """
    if unknown := [name for name in names if name not in CASES]:
        raise ValueError(f"no such case: {', '.join(unknown)}")
    return pytest.mark.case(*names)


def proofs() -> dict[str, list[str]]:
    """Find the tests that prove each case, by reading their files."""
    found: dict[str, list[str]] = {name: [] for name in CASES}
    for path in sorted(_TESTS.rglob("test_*.py")):
        for function in ast.walk(ast.parse(path.read_bytes())):
            if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
                for name in _names(function):
                    found[name].append(f"{path.relative_to(_TESTS.parent)}::{function.name}")
    return found


def _names(function: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[str]:
    for decorator in function.decorator_list:
        if isinstance(decorator, ast.Call) and isinstance(decorator.func, ast.Name) and decorator.func.id == "case":
            yield from (str(word.value) for word in decorator.args if isinstance(word, ast.Constant))


def main() -> None:
    """Print each case with its sentence and its tests."""
    for name, tests in proofs().items():
        print(f"{name:4} {CASES[name]}")  # noqa: T201 - this is its purpose
        for shown in tests or [f"no test: {MISSING.get(name, 'no reason given')}"]:
            print(f"     - {shown}")  # noqa: T201


if __name__ == "__main__":
    main()
