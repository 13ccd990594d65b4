"""The small parts of a supervisor, one by one."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from oneshot_queue.workers.ipc.channel import Channel
from oneshot_queue.workers.ipc.messages import (
    Assignment,
    GaveUp,
    Message,
    Opened,
    Recover,
    Recovered,
    RecoveryDeclined,
    Stage,
    Stop,
)
from oneshot_queue.workers.ipc.options import WorkerOptions
from oneshot_queue.workers.processes import cgroup
from oneshot_queue.workers.supervisor.restart_backoff import RestartBackoff
from oneshot_queue.workers.supervisor.starting import start_child
from oneshot_queue.workers.supervisor.worker_dirs import private_folder
from oneshot_queue.workers.worker.stop_state import StopState
from tests.support import half_dead
from tests.support.limits import limit_s
from tests.support.markers import ProcessMarker
from tests.support.waiting import wait_until
from tests.workers.supervisor.conftest import require_groups

ASSIGNMENT = Assignment("w", "s", 1, 2, "/folder", None, WorkerOptions(url="redis://:secret@host", queues=("a", "b")))


def test_delay_before_a_replacement_grows_while_workers_die_young() -> None:
    restarts = RestartBackoff()

    assert [restarts.delay_s(1.0) for _ in range(8)] == [0, 1, 2, 4, 8, 16, 30, 30]


def test_worker_that_lived_a_minute_is_replaced_at_once() -> None:
    restarts = RestartBackoff()
    for _ in range(4):
        restarts.delay_s(0.1)

    assert [restarts.delay_s(61.0), restarts.delay_s(1.0)] == [0, 1]


@pytest.mark.parametrize(
    "message",
    [
        ASSIGNMENT,
        Stop(Stage.KILLING),
        Recover("w", None, [17]),
        Opened(),
        GaveUp(5, "nobody there", needs_person=True),
        Recovered("w"),
        RecoveryDeclined("w"),
    ],
    ids=lambda message: type(message).__name__,
)
def test_message_arrives_unchanged_with_its_files(message: Message) -> None:
    ours, theirs = Channel.pair()
    with open(os.devnull) as file:
        assert ours.send(message, [file.fileno()])

        received = theirs.receive()

        assert received is not None
        assert received[0] == message
        assert [os.path.samestat(os.fstat(each), os.fstat(file.fileno())) for each in received[1]] == [True]
        assert not any(os.get_inheritable(each) for each in received[1])
        for each in received[1]:
            os.close(each)
    ours.close()
    assert theirs.receive() is None
    assert not theirs.send(Opened())
    theirs.close()


def test_message_that_the_kernel_rejects_is_not_sent_and_the_next_one_is() -> None:
    ours, theirs = Channel.pair()

    assert not ours.send(Recovered("w" * (1 << 22)))
    assert ours.send(Recovered("w"))

    assert theirs.receive() == (Recovered("w"), [])
    ours.close()
    theirs.close()


def test_worker_that_cannot_get_its_assignment_is_killed(tmp_path: Path, marker: ProcessMarker) -> None:
    folder = private_folder(tmp_path / "state")
    options = WorkerOptions(url="redis://host", queues=tuple(f"{number:064}" for number in range(10_000)))

    with pytest.raises(OSError, match="cannot send the worker its assignment"):
        start_child(
            options, process=1, processes=1, supervisor="s", workers_folder=folder, program=marker.sleep.split()
        )

    assert marker.alive() == []
    assert list(folder.iterdir()) == []


async def test_stage_includes_those_before_it_and_never_goes_back() -> None:
    stopping = StopState()

    stopping.reach(Stage.INTERRUPTING)
    stopping.reach(Stage.DRAINING)

    assert stopping.stage is Stage.INTERRUPTING
    assert stopping.advance() is Stage.KILLING
    assert stopping.advance() is Stage.KILLING


def test_first_request_to_stop_drains_with_a_time_limit_and_the_next_goes_further() -> None:
    assert Stage.RUNNING.next_request() is Stage.DRAINING
    assert Stage.FINISHING.next_request() is Stage.DRAINING
    assert Stage.DRAINING.next_request() is Stage.INTERRUPTING


def test_group_contains_and_kills_all_processes_started_in_it() -> None:
    require_groups()
    group = cgroup.make("f" * 32)
    assert group is not None
    program = (
        f"import os, sys; from oneshot_queue.workers.processes import cgroup; assert cgroup.enter({group!r}); "
        "os.execvp('sh', ['sh', '-c', 'setsid sleep 300 & setsid sleep 300 & echo; wait'])"
    )
    with subprocess.Popen([sys.executable, "-P", "-c", program], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        spared, _ = wait_until(
            lambda: [pid for pid in cgroup.members(group) if command_of(pid).startswith(b"sleep")],
            lambda pids: len(pids) == 2,
            what="both to be in the group",
        )

        cgroup.kill(group, lambda pid: pid == spared)

        assert process.wait(timeout=limit_s(20)) == -9
        wait_until(lambda: cgroup.remove(group), what="the group to be empty")
        assert command_of(spared).startswith(b"sleep")
        os.kill(spared, 9)


def test_unused_groups_are_removed_unless_they_are_young_or_not_ours(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    require_groups()
    around = cgroup.make(secrets.token_hex(16))
    assert around is not None
    monkeypatch.setattr(cgroup, "own_group", lambda: Path(around))
    used, empty = (cgroup.make(secrets.token_hex(16)) for _ in range(2))
    assert used is not None
    assert empty is not None
    stranger = Path(around, "stranger")
    stranger.mkdir()
    made_s = max(os.stat(group).st_ctime for group in (used, empty))
    with subprocess.Popen(["sleep", "300"]) as process:
        try:
            Path(used, "cgroup.procs").write_text(str(process.pid))

            cgroup.remove_abandoned(made_s + 59.0)
            assert os.path.isdir(empty)
            cgroup.remove_abandoned(made_s + 61.0)

            assert not os.path.isdir(empty)
            assert cgroup.members(used) == [process.pid]
            assert stranger.is_dir()
        finally:
            process.kill()
    for group in (used, stranger, around):
        wait_until(partial(cgroup.remove, str(group)), what="the group to be empty")


def test_group_kills_even_a_process_without_its_main_thread(tmp_path: Path) -> None:
    require_groups()
    group = cgroup.make(secrets.token_hex(16))
    assert group is not None
    said = tmp_path / "pid"
    program = (
        f"import os; from oneshot_queue.workers.processes import cgroup; assert cgroup.enter({group!r}); "
        f"os.execvp('sh', ['sh', '-c', 'exec {half_dead.PROGRAM} {said}'])"
    )
    with subprocess.Popen([sys.executable, "-P", "-c", program]) as process:
        try:
            wait_until(said.exists, what="the main thread to have exited")

            cgroup.kill(group, lambda _: False)

            assert process.wait(timeout=limit_s(20)) == -9
        finally:
            process.kill()
    wait_until(lambda: cgroup.remove(group), what="the group to be empty")


def command_of(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""


def test_path_from_a_journal_is_used_only_if_it_is_the_group_of_that_worker() -> None:
    own = cgroup.group_path("a" * 32)
    if own is None:
        pytest.skip("this process is in no cgroup v2 tree")

    assert cgroup.is_group_of(str(own), "a" * 32)
    assert not cgroup.is_group_of(str(own), "b" * 32)
    assert not cgroup.is_group_of(f"/tmp/{cgroup.PREFIX}{'a' * 32}", "a" * 32)
    assert not cgroup.is_group_of(f"{own.parent}/../{own.name}", "a" * 32)


def test_cgroup_tree_is_found_at_any_mount_point(tmp_path: Path) -> None:
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        pytest.skip("mounting needs root and unshare")
    place = tmp_path / "odd place"
    place.mkdir()
    script = (
        'for each in $(grep " - cgroup2 " /proc/self/mountinfo | cut -d" " -f5); do umount -l "$each"; done; '
        'mount -t cgroup2 none "$0" && exec "$@"'
    )
    program = (
        "from oneshot_queue.workers.processes import cgroup; g = cgroup.make('e' * 32); "
        "print(cgroup.own_group(), g, cgroup.enter(g), cgroup.is_group_of(g, 'e' * 32), sep='|'); "
        "open(cgroup.own_group().parent / 'cgroup.procs', 'w').write('0'); print(cgroup.remove(g))"
    )

    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", script, str(place), sys.executable, "-P", "-c", program],
        capture_output=True,
        text=True,
        check=False,
    )

    if "permission denied" in done.stderr or "not permitted" in done.stderr:
        pytest.skip(f"cgroup v2 cannot be mounted here: {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr
    first, removed = done.stdout.splitlines()
    own, group, entered, is_own = first.split("|")
    assert own.startswith(str(place))
    assert Path(group).name == f"{cgroup.PREFIX}{'e' * 32}"
    assert (entered, is_own, removed) == ("True", "True", "True")
