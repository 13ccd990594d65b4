"""The process that runs one peer's workers and gives them work; there is one for each turn of a peer.

It runs in the environment in which the peer is installed, so it imports only the standard library and the peer's module
(``queues/``). Each line on stdin is a request, answered by a line of JSON: ``run N`` by ``{"took_s": seconds}`` once
the last of N results is stored, ``check`` by the results of those N commands. When stdin closes, it stops its workers
and exits.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import importlib.metadata
import inspect
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Final, Protocol, TextIO

SLOTS: Final = 4
"""Commands that each peer runs at once."""
TRUE: Final = ("/bin/true",)
URL: Final = "PEERS_REDIS_URL"
"""The environment variable with the server's ``unix://`` URL, for a peer's workers and producer."""
POLL_S: Final = 0.01
_LOOK_AT: Final = 50
STOP_S: Final = 10.0
# If its parent is killed, the kernel sends SIGTERM to the process.
DIE_WITH_PARENT: Final = (
    sys.executable,
    *("-I", "-S", "-c"),
    "import ctypes, os, sys; ctypes.CDLL(None).prctl(1, 15); os.execvp(sys.argv[1], sys.argv[1:])",  # PR_SET_PDEATHSIG
)
Outcome = tuple[int, str, str]
"""Exit status, standard output and standard error."""


class Producer(Protocol):
    """Enqueues work into a peer."""

    async def enqueue(self, commands: Sequence[Sequence[str]]) -> None:
        """Enqueue these commands, in the fastest way that the peer offers."""

    async def unfinished(self) -> int:
        """How many of them have no stored result yet, by one cheap check; 0 only if all have one."""

    async def outcomes(self) -> list[Outcome]:
        """Read back every result of the last batch."""


class Queue(Protocol):
    """The interface of a module in ``queues/``."""

    DISTRIBUTION: str
    """The name of its distribution on PyPI."""
    SETUP: str
    """Its set-up, for the report."""
    WORKERS: Sequence[Sequence[str]]
    """The command lines of its workers."""

    def producing(self) -> AbstractAsyncContextManager[Producer]:
        """Connect."""


def run_command(argv: Sequence[str]) -> Outcome:
    """Run one command, as the jobs of most peers do."""
    done = subprocess.run(argv, capture_output=True, check=False)
    return done.returncode, done.stdout.decode(), done.stderr.decode()


class Arrivals:
    """Counts missing results, for a queue that has no count of its own; checks the oldest first."""

    def __init__(self, keys: Sequence[Any], exists: Callable[[Sequence[Any]], Any]) -> None:
        self._keys = keys
        self._exists = exists
        self._seen = 0

    async def unfinished(self) -> int:
        """How many results are missing, by checking some at a time."""
        while some := self._keys[self._seen : self._seen + _LOOK_AT]:
            found = self._exists(some)
            if (await found if inspect.isawaitable(found) else found) < len(some):
                break
            self._seen += len(some)
        return len(self._keys) - self._seen


@contextlib.contextmanager
def _workers(commands: Sequence[Sequence[str]]) -> Iterator[list[subprocess.Popen[bytes]]]:
    processes: list[subprocess.Popen[bytes]] = []
    try:
        for command in commands:
            processes.append(  # noqa: PERF401 - if one cannot be started, those before it are stopped
                subprocess.Popen(
                    [*DIE_WITH_PARENT, *command],
                    stdin=subprocess.DEVNULL,
                    start_new_session=True,
                )
            )
        yield processes
    finally:
        for process in processes:
            process.send_signal(signal.SIGTERM)
        for process in processes:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(STOP_S)
            # Whatever is left of it, including its children.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


async def _drive(queue: Queue, processes: Sequence[subprocess.Popen[bytes]], answers: TextIO) -> None:
    async with queue.producing() as producer:
        print(json.dumps({"version": _version(queue), "setup": queue.SETUP}), file=answers, flush=True)
        async for words in _requests():
            match words:
                case ["run", count]:
                    commands = [TRUE] * int(count)
                    began = time.perf_counter()
                    await producer.enqueue(commands)
                    while await producer.unfinished():
                        await asyncio.sleep(POLL_S)
                        _check_alive(processes)
                    answer: object = {"took_s": time.perf_counter() - began}
                case ["check"]:
                    found = Counter(tuple(each) for each in await producer.outcomes())
                    answer = {"outcomes": [[*outcome, count] for outcome, count in found.items()]}
                case _:
                    raise SystemExit(f"unknown request {words!r}")
            print(json.dumps(answer), file=answers, flush=True)


async def _requests() -> AsyncIterator[list[str]]:
    while line := await asyncio.to_thread(sys.stdin.readline):
        yield line.split()


def _check_alive(processes: Sequence[subprocess.Popen[bytes]]) -> None:
    for process in processes:
        if process.poll() is not None:
            raise SystemExit(f"a worker exited with {process.returncode}")


def _version(queue: Queue) -> str:
    return importlib.metadata.version(queue.DISTRIBUTION) if queue.DISTRIBUTION else ""


def main() -> None:
    """Run the peer whose module is named on the command line."""
    # Send a peer's own output to stderr.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    queue: Queue = importlib.import_module(sys.argv[1])
    with _workers(queue.WORKERS) as processes:
        asyncio.run(_drive(queue, processes, answers))


if __name__ == "__main__":
    main()
