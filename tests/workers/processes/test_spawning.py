"""What a command inherits when it starts, and the error if it cannot start."""

from __future__ import annotations

import os
import resource
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from oneshot_queue.outcomes import Cause, Outcome
from oneshot_queue.spec import JobSpec
from oneshot_queue.states import JobState
from oneshot_queue.task_events import SpawnDelayed
from oneshot_queue.workers.processes.environment import allowed_environment
from tests.support.cases import case
from tests.workers.recorder import Recorder, a_worker, python


async def _outcome_of(spec: JobSpec, **options: object) -> Outcome:
    async with a_worker(Recorder(), **options) as orchestrator:
        return await orchestrator.submit(spec).wait()


async def _stdout_of(spec: JobSpec, **options: object) -> str:
    outcome = await _outcome_of(spec, **options)
    assert outcome.state is JobState.COMPLETED, outcome
    assert outcome.output is not None
    return outcome.output.stdout.decode()


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    def write(name: str, content: bytes, mode: int = 0o755) -> None:
        (tmp_path / name).write_bytes(content)
        (tmp_path / name).chmod(mode)

    write("locked", b"#!/bin/sh\n", 0o644)
    write("orphaned", b"#!/no/such/interpreter -x\n")
    write("garbage", b"\x01\x02\x03\x04")
    write("plain", b"", 0o644)
    return tmp_path


@case("P9")
@pytest.mark.parametrize(
    ("word", "exit_code", "reason"),
    [
        ("no-such-program", 127, "no such program in PATH"),
        ("/no/such/program", 127, "no such file"),
        ("{0}/plain/program", 127, "no such file"),
        ("./no-such-program", 127, "no such file"),
        ("{0}", 126, "it is a directory"),
        ("{0}/locked", 126, "no permission to execute it"),
        ("{0}/orphaned", 126, "#!/no/such/interpreter -x"),
        ("{0}/garbage", 126, "neither a binary for this machine nor a script"),
    ],
)
async def test_program_that_cannot_run_fails_its_task_with_a_reason(
    word: str, exit_code: int, reason: str, programs: Path, recorder: Recorder
) -> None:
    program = word.format(programs)

    async with a_worker(recorder) as orchestrator:
        task = orchestrator.submit([program])
        outcome = await task.wait()
        assert (await orchestrator.submit(["true"]).wait()).exit_code == 0, "the worker must run the next command"

    assert (outcome.state, outcome.cause) == (JobState.FAILED, Cause.SPAWN_ERROR)
    assert (outcome.exit_code, outcome.signal) == (exit_code, None)
    assert outcome.error is not None
    assert outcome.error.startswith(f"{socket.gethostname()}: cannot run {program!r}: ")
    assert reason in outcome.error
    assert recorder.kinds(task.task_id) == ["TaskEnded"]


async def test_pipe_in_place_of_a_program_does_not_block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The worker would find the pipe from its own directory, and block until another process writes to it.
    (tmp_path / "tools").mkdir()
    os.mkfifo(tmp_path / "tools/program", 0o755)
    (tmp_path / "tools/program").chmod(0o755)
    monkeypatch.chdir(tmp_path)

    far = await _outcome_of(JobSpec(["program"], env={"PATH": "tools"}, cwd="/"))
    near = await _outcome_of(JobSpec(["program"], env={"PATH": "tools"}, cwd=str(tmp_path)))

    assert (far.cause, far.exit_code) == (Cause.SPAWN_ERROR, 127)
    assert (near.cause, near.exit_code) == (Cause.SPAWN_ERROR, 126)


async def test_error_names_the_path_of_a_program_without_permission(programs: Path) -> None:
    outcome = await _outcome_of(JobSpec(["locked"], env={"PATH": str(programs)}))

    assert outcome.exit_code == 126
    assert outcome.error is not None
    assert f"{str(programs / 'locked')!r}: no permission" in outcome.error


@case("P9")
@pytest.mark.parametrize(("folder", "reason"), [("missing", "No such file or directory"), ("plain", "not a directory")])
async def test_bad_working_directory_fails_the_task_and_is_named(folder: str, reason: str, programs: Path) -> None:
    outcome = await _outcome_of(JobSpec(["true"], cwd=str(programs / folder)))

    assert (outcome.state, outcome.cause, outcome.exit_code) == (JobState.FAILED, Cause.SPAWN_ERROR, 126)
    assert outcome.error is not None
    assert f"cannot enter the working directory {str(programs / folder)!r}: {reason}" in outcome.error


@case("P9")
async def test_arguments_longer_than_the_machine_allows_fail_the_task(monkeypatch: pytest.MonkeyPatch) -> None:
    # execve allows a quarter of the stack limit for arguments and environment.
    soft, hard = resource.getrlimit(resource.RLIMIT_STACK)
    resource.setrlimit(resource.RLIMIT_STACK, (512 * 1024, hard))
    try:
        outcome = await _outcome_of(JobSpec(["true", *["x" * 100_000] * 2]))
    finally:
        resource.setrlimit(resource.RLIMIT_STACK, (soft, hard))

    assert (outcome.cause, outcome.exit_code) == (Cause.SPAWN_ERROR, 126)
    assert outcome.error is not None
    assert "longer than this machine allows" in outcome.error


@pytest.fixture
def no_descriptors() -> Iterator[list[int]]:
    """Lower the limit of descriptors. The test fills the list; the fixture closes what is left in it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    highest = max(int(name) for name in os.listdir("/proc/self/fd"))
    resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 40, hard))
    taken: list[int] = []
    yield taken
    for fd in taken:
        os.close(fd)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def _take_all(taken: list[int]) -> None:
    while True:
        try:
            taken.append(os.open("/dev/null", os.O_RDONLY))
        except OSError:
            return


@case("P10")
async def test_start_without_free_descriptors_is_retried_until_it_succeeds(
    recorder: Recorder, no_descriptors: list[int]
) -> None:
    async with a_worker(recorder) as orchestrator:
        _take_all(no_descriptors)
        task = orchestrator.submit(["echo", "hi"])
        await recorder.until(lambda: len(recorder.of(SpawnDelayed)) >= 2)
        assert task.state is JobState.CREATED
        while no_descriptors:
            os.close(no_descriptors.pop())
        outcome = await task.wait()

    assert outcome.state is JobState.COMPLETED
    assert "Too many open files" in recorder.of(SpawnDelayed)[0].error
    assert recorder.kinds().count("TaskStarted") == 1


async def test_task_ends_without_free_descriptors_and_leaves_no_process(
    recorder: Recorder, no_descriptors: list[int]
) -> None:
    async with a_worker(recorder) as orchestrator:
        task = orchestrator.submit(["sh", "-c", "setsid sleep 300 & sleep 300 & echo ready; sleep 300"])
        await recorder.wrote(b"ready")
        _take_all(no_descriptors)
        task.interrupt()
        await task.wait()

    assert task.state is JobState.INTERRUPTED


@case("P17")
@pytest.mark.parametrize("owns_children", [True, False])
@pytest.mark.parametrize("cwd", [None, "/"])
async def test_command_has_three_descriptors_and_no_others(*, owns_children: bool, cwd: str | None) -> None:
    inherited = os.memfd_create("inherited", 0)
    try:
        found = await _stdout_of(JobSpec(["ls", "/proc/self/fd"], cwd=cwd), owns_children=owns_children)
    finally:
        os.close(inherited)

    # The fourth is the directory that ls reads.
    assert found == "0\n1\n2\n3\n"


async def test_search_in_path_skips_files_that_cannot_be_run(tmp_path: Path) -> None:
    for folder, content, mode in [
        ("a", "", 0o644),
        ("b", "#!/bin/sh\necho b", 0o755),
        ("c", "#!/bin/sh\necho c", 0o755),
    ]:
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "tool").write_text(content)
        (tmp_path / folder / "tool").chmod(mode)
    path = os.pathsep.join(str(tmp_path / folder) for folder in ("none", "a", "b", "c"))

    assert await _stdout_of(JobSpec(["tool"], env={"PATH": path})) == "b\n"


async def test_command_has_default_actions_for_signals_that_python_ignores() -> None:
    status = await _stdout_of(JobSpec(["cat", "/proc/self/status"]))

    (ignored,) = [line.split()[1] for line in status.splitlines() if line.startswith("SigIgn:")]
    assert int(ignored, 16) & (1 << signal.SIGPIPE - 1 | 1 << signal.SIGXFSZ - 1) == 0


async def test_command_leads_its_own_session() -> None:
    report = python("import os; print(os.getpid() == os.getsid(0) == os.getpgid(0))")

    assert await _stdout_of(JobSpec(report)) == "True\n"


async def test_command_can_open_its_outputs_by_name() -> None:
    assert await _stdout_of(JobSpec(["sh", "-c", "echo a > /dev/stdout; echo b > /proc/self/fd/1"])) == "a\nb\n"


async def test_command_sees_base_variables_its_own_and_those_of_the_attempt(recorder: Recorder) -> None:
    base = allowed_environment({"PATH": os.environ["PATH"], "REDIS_URL": "redis://secret", "ONESHOT_QUEUE_URL": "no"})

    async with a_worker(recorder, environment=base) as orchestrator:
        task = orchestrator.submit(
            JobSpec(["env"], env={"MINE": "yes"}), task_id="queue/job7", job_id="job7", attempt=3, token="t9"
        )
        outcome = await task.wait()

    assert outcome.output is not None
    seen = dict(line.split("=", 1) for line in outcome.output.stdout.decode().splitlines())
    assert seen == {
        "PATH": os.environ["PATH"],
        "MINE": "yes",
        "PYTHONUNBUFFERED": "1",
        "ONESHOT_JOB_ID": "job7",
        "ONESHOT_ATTEMPT": "3",
        "ONESHOT_TOKEN": "t9",
    }


async def test_arguments_arrive_unchanged() -> None:
    words = ["", " ", "$(id)", "`id`", "a;b", "*", "-n", "\n", "'\"", "\u00e4\U0001f600", "--"]
    report = python("import sys; print(sys.argv[1:])")

    assert await _stdout_of(JobSpec([*report, *words])) == f"{words}\n"


async def test_arguments_that_are_not_text_arrive_unchanged() -> None:
    raw = bytes(range(1, 256))

    outcome = await _outcome_of(JobSpec([b"printf", b"%s", raw]))

    assert outcome.output is not None
    assert outcome.output.stdout == raw


async def test_command_runs_in_its_working_directory(tmp_path: Path) -> None:
    assert await _stdout_of(JobSpec(["pwd"], cwd=str(tmp_path))) == f"{tmp_path}\n"


async def test_command_whose_working_directory_is_removed_still_ends(tmp_path: Path) -> None:
    folder = tmp_path / "gone"
    folder.mkdir()

    assert (await _outcome_of(JobSpec(["sh", "-c", 'rmdir "$PWD"; exit 6'], cwd=str(folder)))).exit_code == 6
