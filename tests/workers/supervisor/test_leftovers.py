"""A supervisor killed together with its workers: the next start ends their processes, and no others."""

from __future__ import annotations

import fcntl
import os
import secrets
import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from oneshot_queue import JobState
from oneshot_queue.workers.ipc.journal import Journal
from oneshot_queue.workers.ipc.options import WorkerOptions
from oneshot_queue.workers.processes.procfs import ticks_now
from oneshot_queue.workers.supervisor.leftovers import broker_fingerprint, take_over_leftovers
from oneshot_queue.workers.supervisor.worker_dirs import WorkerDir, abandoned, new_worker_dir, private_folder
from tests.support.cases import case
from tests.support.deployment import Deployment, record_of
from tests.support.faults import without_descriptors
from tests.support.limits import limit_s
from tests.support.markers import ProcessMarker
from tests.support.waiting import wait_until
from tests.support.worker_process import PROGRAM

OPTIONS = WorkerOptions(url="redis://user:secret@nowhere/1")
SLEEP = ["sleep", "300"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return private_folder(tmp_path / "oneshot-queue")


@pytest.fixture
def processes() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def a_process(processes: ExitStack, **environment: str) -> subprocess.Popen[bytes]:
    """A process that sleeps until the test is over."""
    process = subprocess.Popen(SLEEP, env={**os.environ, **environment}, start_new_session=True)
    processes.callback(process.wait)
    processes.callback(process.kill)
    return process


def a_worker_dir(
    folder: Path,
    token: str,
    pid: int,
    started: int,
    *,
    boot_id: str | None = None,
    url: str = OPTIONS.url,
    namespace: str = "oq",
) -> WorkerDir:
    """The worker dir of a worker with one job; the worker counts as dead once it is closed."""
    worker_dir = new_worker_dir(folder, secrets.token_hex(16))
    journal = Journal.lay_out(
        worker_dir.journal,
        worker_id=worker_dir.worker_id,
        namespace=namespace,
        broker=broker_fingerprint(url),
        cgroup="",
        slots=4,
        leases=1,
    )
    if boot_id is not None:
        os.pwrite(worker_dir.journal, boot_id.encode(), 20)
    journal.set_lease(0, "builds", f"{worker_dir.worker_id}.1", 30.0)
    slot = journal.reserve(
        queue="builds",
        job_id="job",
        attempt=1,
        token=token,
        lease_id=f"{worker_dir.worker_id}.1",
        first_tick=started,
    )
    journal.started(slot, pid, started, started + 1)
    return worker_dir


def lowest_free() -> int:
    """Return the number of the next descriptor that is opened."""
    file = os.dup(0)
    os.close(file)
    return file


def taken_over(folder: Path) -> list[str]:
    found = list(take_over_leftovers(folder, OPTIONS))
    for worker_dir, _ in found:
        worker_dir.close()
    return [worker_dir.worker_id for worker_dir, _ in found]


@pytest.mark.thorough
@case("P4")
def test_next_start_ends_the_processes_of_a_killed_supervisor_and_its_workers(
    deployment: Deployment, program: tuple[str, ...], layer: str, marker: ProcessMarker, other_marker: ProcessMarker
) -> None:
    # Only a process that cleared its environment and lost its parents cannot be found by its token. A group has it.
    escape = f"(env -i setsid {marker.sleep} >/dev/null 2>&1 &) ;" if layer == "cgroup" else f"{marker.sleep} &"
    living = deployment.start_worker(concurrency=1, program=program)
    spared = deployment.enqueue(f"setsid {other_marker.sleep} & {other_marker.sleep}")
    wait_until(other_marker.alive, lambda seen: len(seen) == 2, what="the processes of the living worker")
    killed = deployment.start_worker(concurrency=1, program=program)
    deployment.enqueue(
        f"setsid {marker.sleep} & (setsid {marker.sleep} &) ; {escape} "
        f"env -u ONESHOT_TOKEN {marker.sleep} & {marker.sleep}"
    )
    wait_until(marker.alive, lambda seen: len(seen) == 5, what="all processes of the job")

    killed.kill()
    assert len(marker.alive()) == 5
    deployment.start_worker(concurrency=1, program=program)

    assert marker.alive() == []
    assert len(other_marker.alive()) == 2
    assert record_of(spared).state is JobState.RUNNING
    assert spared.interrupt().state is JobState.INTERRUPTED
    living.stop()


def test_processes_are_ended_by_their_token_with_their_children(
    folder: Path, processes: ExitStack, marker: ProcessMarker
) -> None:
    token = secrets.token_hex(16)
    started = ticks_now()
    script = f"env -i {marker.sleep} & trap '' TERM; {marker.sleep}"
    process = subprocess.Popen(["sh", "-c", script], env={**os.environ, "ONESHOT_TOKEN": token}, start_new_session=True)
    processes.callback(process.wait)
    wait_until(marker.alive, lambda seen: len(seen) == 2, what="both children")
    a_worker_dir(folder, token, process.pid, started).close()

    assert len(taken_over(folder)) == 1
    # A shell whose command was killed may exit before it is signalled itself.
    assert process.wait(timeout=limit_s(20)) in (-signal.SIGKILL, 128 + signal.SIGKILL)
    assert marker.alive() == []


def test_worker_dir_in_use_is_left_alone(folder: Path, processes: ExitStack) -> None:
    token = secrets.token_hex(16)
    process = a_process(processes, ONESHOT_TOKEN=token)
    held = a_worker_dir(folder, token, process.pid, 0)

    assert taken_over(folder) == []
    assert process.poll() is None
    held.close()


def test_newer_attempt_of_the_same_job_is_left_alone(folder: Path, processes: ExitStack) -> None:
    process = a_process(processes, ONESHOT_TOKEN=secrets.token_hex(16), ONESHOT_JOB_ID="job")
    a_worker_dir(folder, secrets.token_hex(16), process.pid, 0).close()

    assert len(taken_over(folder)) == 1
    assert process.poll() is None


def test_reused_process_id_proves_nothing(folder: Path, processes: ExitStack) -> None:
    process = a_process(processes)
    a_worker_dir(folder, secrets.token_hex(16), process.pid, ticks_now()).close()

    assert len(taken_over(folder)) == 1
    assert process.poll() is None


def test_process_that_is_older_than_the_job_is_left_alone(folder: Path, processes: ExitStack) -> None:
    token = secrets.token_hex(16)
    process = a_process(processes, ONESHOT_TOKEN=token)
    a_worker_dir(folder, token, process.pid, ticks_now() + 1_000).close()

    assert len(taken_over(folder)) == 1
    assert process.poll() is None


def test_after_a_reboot_no_process_is_ended_and_the_jobs_are_recovered(folder: Path, processes: ExitStack) -> None:
    token = secrets.token_hex(16)
    process = a_process(processes, ONESHOT_TOKEN=token)
    before = a_worker_dir(folder, token, process.pid, 0, boot_id="0" * 36)
    before.close()

    assert taken_over(folder) == [before.worker_id]
    assert process.poll() is None


def test_worker_dir_of_another_broker_waits_for_a_worker_of_that_broker(folder: Path) -> None:
    a_worker_dir(folder, "token", 2**30, 0, url="redis://elsewhere").close()
    own = a_worker_dir(folder, "token", 2**30, 0, url="redis://other:changed@nowhere/1")
    own.close()

    assert taken_over(folder) == [own.worker_id]
    assert len(list(folder.iterdir())) == 2


def test_worker_dirs_without_a_valid_journal_are_removed_and_links_are_not_followed(
    folder: Path, tmp_path: Path
) -> None:
    torn = a_worker_dir(folder, "token", 1, 0)
    os.ftruncate(torn.journal, 100)
    torn.close()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "lock").touch()
    (elsewhere / "notes").touch()
    (folder / ("a" * 32)).symlink_to(elsewhere)
    (folder / "stranger").mkdir()

    assert taken_over(folder) == []
    assert sorted(path.name for path in folder.iterdir()) == ["a" * 32, "stranger"]
    assert sorted(path.name for path in elsewhere.iterdir()) == ["lock", "notes"]


def test_worker_dir_whose_journal_cannot_be_opened_leaves_nothing_behind(folder: Path) -> None:
    before = os.listdir("/proc/self/fd")

    # One descriptor is left, for the lock.
    with without_descriptors(os.getpid(), but=lowest_free() + 1), pytest.raises(OSError, match=r"open files.*notes"):
        new_worker_dir(folder, "a" * 32)

    assert list(folder.iterdir()) == []
    assert os.listdir("/proc/self/fd") == before


def test_unfinished_worker_dir_is_removed_unless_its_maker_is_alive(folder: Path) -> None:
    (folder / f"{'a' * 32}.new").mkdir()
    (folder / f"{'b' * 32}.new").mkdir()
    (folder / f"{'b' * 32}.new/lock").touch()
    (folder / f"{'c' * 32}.new").mkdir()

    with (folder / f"{'c' * 32}.new/lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert taken_over(folder) == []

    assert [path.name for path in folder.iterdir()] == [f"{'c' * 32}.new"]


def test_without_descriptors_worker_dirs_are_not_taken_for_missing(folder: Path) -> None:
    a_worker_dir(folder, "token", 2**30, 0).close()

    # One descriptor is left, for the list.
    with without_descriptors(os.getpid(), but=lowest_free() + 1), pytest.raises(OSError, match=r"open files.*lock"):
        list(abandoned(folder))


def test_more_dead_workers_than_open_files_are_recovered_one_after_the_other(
    deployment: Deployment,
) -> None:
    folder = private_folder(deployment.state_folder / "oneshot-queue")
    for _ in range(150):
        a_worker_dir(folder, "1", 2**30, 0, url=deployment.url, namespace=deployment.settings.namespace).close()

    deployment.start_worker(program=("sh", "-c", 'ulimit -n 128 && exec "$@"', "sh", *PROGRAM))

    wait_until(lambda: len(os.listdir(folder)), lambda count: count == 1, what="all but the living worker's to be gone")
    assert deployment.enqueue().wait(timeout=limit_s(20)).state is JobState.COMPLETED


def test_folder_that_is_open_to_others_is_refused(tmp_path: Path) -> None:
    (tmp_path / "oneshot-queue").mkdir(mode=0o755)

    with pytest.raises(PermissionError, match="not private"):
        private_folder(tmp_path / "oneshot-queue")


def test_worker_without_a_private_folder_warns_and_works(deployment: Deployment, marker: ProcessMarker) -> None:
    (deployment.state_folder / "oneshot-queue").mkdir(parents=True, mode=0o755)
    worker = deployment.start_worker()
    worker.wait_for("no state folder, so jobs cannot be recovered")
    deployment.enqueue(f"setsid {marker.sleep} & {marker.sleep}")
    wait_until(marker.alive, lambda seen: len(seen) == 2, what="the processes of the job")

    victim = worker.worker_pid
    os.kill(victim, signal.SIGKILL)

    wait_until(marker.alive, lambda seen: not seen, what="the tree of the killed worker to end")
    worker.wait_for("worker ", times=3)
    assert deployment.enqueue().wait(timeout=limit_s(20)).state is JobState.COMPLETED
