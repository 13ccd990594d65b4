"""This project, measured like the other systems."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass

from oneshot_queue import __version__
from tests.bench.fleet import PrivateFleet, a_private_fleet
from tests.bench.peers.driving import SLOTS, TRUE
from tests.bench.peers.peer import Turn, Work, check, tree_cpu_s


@dataclass(frozen=True, slots=True)
class OwnQueue:
    """One worker.

    Attributes:
        processes: Its worker processes.
        slots: Commands that all of them together run at once.
    """

    processes: int
    slots: int = SLOTS

    @property
    def name(self) -> str:
        """Its name in the table, with its settings."""
        plural = "es" if self.processes > 1 else ""
        return f"oneshot-queue, {self.processes} process{plural}, -c {self.slots}"

    def describe(self) -> tuple[str, str]:
        """Its version and set-up."""
        return __version__, f"worker --processes {self.processes} -c {self.slots}; SyncQueue.enqueue_many"

    def take_turn(self, work: Work) -> Turn:
        """Do the work on a fresh server, with warm workers."""
        with a_private_fleet() as private:
            fleet = private.fleet
            fleet.start_worker(self.processes, concurrency=self.slots, warm_up=work.warm_up)
            commands = [TRUE] * work.commands
            before_s, began = _cpu_s(private), time.perf_counter()
            jobs = fleet.enqueue(commands)
            took_s = fleet.wait_until_drained() - began
            used_s = _cpu_s(private) - before_s
            stored = fleet.fields(jobs, "state", "exit_code", "bytes")
            check(Counter(_outcome(*fields) for fields in stored), work.commands)
            return Turn(took_s, used_s)


def _outcome(state: str | None, exit_code: str | None, written: str | None) -> tuple[int, str, str]:
    if state != "COMPLETED":
        return -1, state or "no such job", ""
    return int(exit_code or 0), f"{written} bytes" if int(written or 0) else "", ""


def _cpu_s(private: PrivateFleet) -> float:
    # This process is the producer.
    return tree_cpu_s([worker.pid for worker in private.fleet.workers] + [private.server.pid]) + time.process_time()
