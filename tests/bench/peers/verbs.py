"""How long a read-only CLI command takes, next to ``rq info``."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from typing import Final

from oneshot_queue.bench.figures import Line, MeasurementSpoilt, Target, median_of
from tests.bench.fleet import a_server
from tests.bench.peers.environments import SHARED

TARGET: Final = Target.at_most(0.8)
VERBS: Final = ("queues", "ls", "workers")
IMPORTS: Final = "importing only redis and typer"
"""The lower bound for any command."""


def measure(rounds: int) -> Iterator[Line]:
    """Run all commands in turns, on an empty server.

    Raises:
        PeerMissing: RQ cannot be installed.
    """
    SHARED.install()
    with a_server() as server:
        commands = {
            f"oneshot-queue {verb}": [sys.executable, "-P", "-m", "oneshot_queue", "--url", server.url, verb]
            for verb in VERBS
        }
        commands[IMPORTS] = [sys.executable, "-P", "-c", "import redis, typer"]
        theirs = [str(SHARED.programs / "rq"), "info", "--raw", "--url", server.url]
        for command in (theirs, *commands.values()):
            _span_s(command)  # so that Python's compiled files exist
        spans: dict[str, list[float]] = {name: [] for name in commands}
        bases: list[float] = []
        for _ in range(rounds):
            bases.append(_span_s(theirs))
            for name, command in commands.items():
                spans[name].append(_span_s(command))
    yield median_of([span_s * 1e3 for span_s in bases], "rq info --raw", "ms")
    for name, found in spans.items():
        yield median_of([span_s * 1e3 for span_s in found], name, "ms")
        ratios = [span_s / base_s for span_s, base_s in zip(found, bases, strict=True)]
        yield median_of(ratios, name, "of rq info", None if name == IMPORTS else TARGET)


def _span_s(command: Sequence[str]) -> float:
    # Let Python write compiled files: installed programs have them too.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    began = time.perf_counter()
    done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=environment, check=False)
    took_s = time.perf_counter() - began
    if done.returncode != 0:
        raise MeasurementSpoilt(f"{command[-1]} exited with {done.returncode}: {done.stderr.decode()[-500:]}")
    return took_s
