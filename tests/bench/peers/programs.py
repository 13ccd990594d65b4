"""Programs that run commands without a queue: each is started once, with all commands."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from oneshot_queue.bench.figures import MeasurementSpoilt
from oneshot_queue.bench.procfs import cpu_s
from tests.bench.peers.driving import SLOTS, TRUE
from tests.bench.peers.peer import PeerMissing, Turn, Work, check

# As in GNU parallel's examples for fast jobs, one GNU parallel distributes the work to others. Each of these logs the
# exit status of its jobs (--joblog) and captures their output (--group, the default).
_INNER: Final = f"parallel --will-cite -j{SLOTS // 2} --joblog job-log.{{%}} {TRUE[0]}"


@dataclass(frozen=True, slots=True)
class Program:
    """A program that reads one argument per line.

    Attributes:
        argv: Its command line.
        setup: Its set-up, for the report.
        package: Its package in Debian.
        statuses: Reads the exit statuses of the commands from its folder; ``None`` if only its own status is known.
    """

    name: str
    argv: Sequence[str]
    setup: str
    package: str
    statuses: Callable[[Path], list[int]] | None = None

    def describe(self) -> tuple[str, str]:
        """Its version and set-up.

        Raises:
            PeerMissing: It is not on PATH.
        """
        if shutil.which(self.argv[0]) is None:
            raise PeerMissing(f"{self.argv[0]} is not on PATH (Debian package: {self.package})")
        version = subprocess.run([self.argv[0], "--version"], capture_output=True, text=True, check=False).stdout
        return version.partition("\n")[0].split()[-1], self.setup

    def take_turn(self, work: Work) -> Turn:
        """Run it, and check the results."""
        words = "".join(f"{number}\n" for number in range(work.commands)).encode()
        with tempfile.TemporaryDirectory(prefix="oq-") as folder:
            before_s, began = cpu_s(os.getpid())[1], time.perf_counter()
            done = subprocess.run(self.argv, input=words, cwd=folder, capture_output=True, check=False)
            took_s, used_s = time.perf_counter() - began, cpu_s(os.getpid())[1] - before_s
            if done.returncode != 0:
                raise MeasurementSpoilt(f"{self.name} exited with {done.returncode}: {done.stderr.decode()}")
            statuses = [0] * work.commands if self.statuses is None else self.statuses(Path(folder))
        if done.stdout or done.stderr:
            raise MeasurementSpoilt(f"{self.name} wrote {(done.stdout + done.stderr)[:200]!r}")
        check(Counter((status, "", "") for status in statuses), work.commands)
        return Turn(took_s, used_s)


def _job_logs(folder: Path) -> list[int]:
    # Seq, Host, Starttime, JobRuntime, Send, Receive, Exitval, Signal, Command; the first line names them.
    rows = [row.split("\t") for log in folder.glob("job-log.*") for row in log.read_text().splitlines()[1:]]
    return [int(row[6]) or int(row[7]) for row in rows]


XARGS: Final = Program(
    name="xargs",
    argv=("xargs", f"-P{SLOTS}", "-n1", *TRUE),
    setup=f"xargs -P{SLOTS} -n1; captures and stores nothing: the ceiling",
    package="findutils",
)
PARALLEL: Final = Program(
    name="GNU parallel",
    argv=("parallel", "--will-cite", "-j2", "--pipe", "--round-robin", "-N50", _INNER),
    setup=f"two under one (--pipe --round-robin), -j{SLOTS // 2} each, --joblog",
    package="parallel",
    statuses=_job_logs,
)
