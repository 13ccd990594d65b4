"""Orphans of dead workers are killed; other children are ignored."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from oneshot_queue.workers.processes.procfs import children_of, status_of, ticks_now
from oneshot_queue.workers.processes.subreaper import child_subreaper
from oneshot_queue.workers.supervisor.orphans import Orphans
from tests.support.waiting import wait_until

WORKER = "import subprocess, sys; c = subprocess.Popen(sys.argv[1:]); print(c.pid, flush=True); sys.stdin.read()"


@pytest.fixture(autouse=True)
def _subreaper() -> Iterator[None]:
    with child_subreaper():
        yield


def a_worker(*command: str) -> tuple[subprocess.Popen[str], int]:
    """A process with one child, and the child."""
    worker = subprocess.Popen(
        [sys.executable, "-P", "-c", WORKER, *command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert worker.stdout is not None
    return worker, int(worker.stdout.readline())


def killed(worker: subprocess.Popen[str]) -> None:
    worker.kill()
    os.waitid(os.P_PID, worker.pid, os.WEXITED | os.WNOWAIT)


def closed(worker: subprocess.Popen[str]) -> None:
    # Do not read its pipes to their end: the orphan still holds them.
    for pipe in (worker.stdin, worker.stdout):
        assert pipe is not None
        pipe.close()
    worker.wait()


def until_quiet(orphans: Orphans) -> None:
    """Check repeatedly, as the supervisor does, until no process is left to kill."""

    def is_quiet() -> bool:
        orphans.check(())
        return not orphans.are_ending

    wait_until(is_quiet, what="all to be ended")


def until_buried(orphans: Orphans, pid: int) -> None:
    """Check repeatedly until a process has left the process table."""

    def is_buried() -> bool:
        orphans.check(())
        return status_of(pid) is None

    wait_until(is_buried, what="a burial")


def test_child_of_a_dead_worker_is_not_ignored_before_the_death_is_noticed() -> None:
    orphans = Orphans()
    began = ticks_now()
    worker, child = a_worker("sleep", "300")
    killed(worker)
    assert child in children_of(os.getpid())

    orphans.check([worker.pid])
    closed(worker)
    orphans.end_all(began)
    until_quiet(orphans)

    assert status_of(child) is None
    orphans.close()


def test_process_inherited_before_the_death_and_one_older_than_the_worker_are_ignored() -> None:
    older = subprocess.Popen(["sleep", "300"])
    orphans = Orphans()
    stranger, its_child = a_worker("sleep", "300")
    killed(stranger)
    closed(stranger)
    orphans.check(())
    worker, child = a_worker("sleep", "300")
    killed(worker)
    closed(worker)

    orphans.end_all(0)
    until_quiet(orphans)

    assert status_of(child) is None
    assert older.poll() is None
    status = status_of(its_child)
    assert status is not None
    assert not status.is_zombie
    os.kill(its_child, signal.SIGKILL)
    until_buried(orphans, its_child)
    older.kill()
    older.wait()
    orphans.close()


def test_spared_process_is_ignored_with_all_its_descendants() -> None:
    spared: list[int] = []
    orphans = Orphans(spares=lambda pid: pid in spared)
    began = ticks_now()
    worker, child = a_worker("sh", "-c", "sleep 300 & wait")
    (grandchild,) = wait_until(lambda: children_of(child), what="the child of the spared one")
    spared.append(child)
    killed(worker)
    closed(worker)

    orphans.end_all(began)
    until_quiet(orphans)

    assert status_of(child) is not None
    assert status_of(grandchild) is not None
    os.kill(child, signal.SIGKILL)
    orphans.end_all(began)
    until_quiet(orphans)
    until_buried(orphans, child)
    assert status_of(grandchild) is None
    orphans.close()
