"""How a process is started: as the leader of a new session, with the descriptors 0, 1 and 2, and no others.

``os.posix_spawn`` where it can do all that, which is two thirds of the cost of ``subprocess.Popen``; that is for the
rest, with nothing that would cost its ``vfork``: no ``preexec_fn``, no user or group.
"""

from __future__ import annotations

import errno
import os
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from oneshot_queue.pidfd import pidfd_open
from oneshot_queue.task_events import OutputStream
from oneshot_queue.workers.processes.process import Process
from oneshot_queue.workers.processes.spawn_errors import NOT_EXECUTABLE, SpawnRefused, refusal
from oneshot_queue.workers.processes.terminal import open_terminal

OUR_LIMITS: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.EAGAIN, errno.ENOMEM, errno.ENOSPC})
"""What this machine lacks, whatever the command is: the start may succeed later."""

_NOT_THERE: Final = frozenset({errno.ENOENT, errno.ENOTDIR})

_OUTPUTS: Final = tuple(OutputStream)
"""In the order of their numbers: the pipes become the descriptors 1 and 2."""

_IGNORED_BY_PYTHON: Final = (signal.SIGPIPE, signal.SIGXFSZ)
"""What a program expects to find as the kernel has it."""


class SpawnPostponed(Exception):
    """The machine could not start a process now; nothing was started."""

    def __init__(self, problem: OSError) -> None:
        self.problem = problem
        super().__init__(f"cannot start a process now: {problem.strerror}; it will be tried again")


def seal_descriptors() -> None:
    """Let no process that is started from now on inherit a descriptor of this one but 0, 1 and 2.

    Python opens none that would be; what it was started with may be.
    """
    for name in os.listdir("/proc/self/fd"):
        if int(name) > 2:
            try:
                os.set_inheritable(int(name), False)
            except OSError:
                # That of the listing itself.
                continue


def spawn(
    argv: Sequence[bytes],
    *,
    cwd: str | None,
    env: Mapping[str, str],
    with_stdin: bool,
    with_terminal: bool,
    is_sealed: bool = False,
) -> Process:
    """Start a command, with a pipe for each output or a terminal for both.

    Args:
        is_sealed: Whether every descriptor of this process but 0, 1 and 2 is closed by an ``exec``, see
            ``seal_descriptors``; otherwise the command closes them before it begins.

    Raises:
        SpawnRefused: The command cannot be run here; no process is left of the attempt.
        SpawnPostponed: This machine cannot start any process now.
    """
    files, popen, pid = _Files(), None, None
    try:
        files.open(with_stdin=with_stdin, with_terminal=with_terminal)
        terminal = os.ttyname(files.theirs[1]) if with_terminal else None
        if is_sealed and cwd is None and not with_terminal and min(files.theirs) > 2:
            pid = _posix_spawn(argv, env, files.theirs)
        else:
            stdin, stdout, stderr = files.theirs
            popen = subprocess.Popen(
                argv, stdin=stdin, stdout=stdout, stderr=stderr, cwd=cwd, env=env, start_new_session=True
            )
            pid = popen.pid
        # Its side is closed first, so there is room for the one descriptor more.
        files.close_theirs()
        return Process(pid, pidfd_open(pid), files.outputs, files.stdin, terminal, popen)
    except BaseException as error:
        files.close_theirs()
        files.close_ours()
        if pid is not None:
            _undo(pid, popen)
        if pid is not None and isinstance(error, OSError):
            # It has begun, so it may not be started again.
            problem = f"its process was started but could not be watched, and was killed: {error}"
            raise SpawnRefused(problem, NOT_EXECUTABLE) from error
        if isinstance(error, OSError) and error.errno in OUR_LIMITS:
            raise SpawnPostponed(error) from error
        if isinstance(error, OSError | ValueError):
            raise refusal(error, argv, cwd=cwd, env=env) from error
        raise


class _Files:
    """The pipes between a command and us, or its terminal.

    Attributes:
        theirs: What become its descriptors 0, 1 and 2.
    """

    def __init__(self) -> None:
        self.outputs: dict[OutputStream, int] = {}
        self.stdin: int | None = None
        self.theirs: list[int] = []

    def open(self, *, with_stdin: bool, with_terminal: bool) -> None:
        """Open all of them, or raise with some open."""
        if with_stdin:
            theirs, self.stdin = os.pipe2(os.O_CLOEXEC)
            self.theirs.append(theirs)
            os.set_blocking(self.stdin, False)
        else:
            self.theirs.append(os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC))
        if with_terminal:
            self.outputs[OutputStream.STDOUT], theirs = open_terminal()
            self.theirs += (theirs, theirs)
        else:
            for stream in _OUTPUTS:
                self.outputs[stream], theirs = os.pipe2(os.O_CLOEXEC)
                self.theirs.append(theirs)
        for file in self.outputs.values():
            os.set_blocking(file, False)

    def close_theirs(self) -> None:
        """Close the command's side."""
        for file in set(self.theirs):
            os.close(file)
        self.theirs.clear()

    def close_ours(self) -> None:
        """Close our side."""
        for file in self.outputs.values():
            os.close(file)
        if self.stdin is not None:
            os.close(self.stdin)


def _posix_spawn(argv: Sequence[bytes], env: Mapping[str, str], files: Sequence[int]) -> int:
    actions = [(os.POSIX_SPAWN_DUP2, file, number) for number, file in enumerate(files)]
    problem: OSError | None = None
    for path in _candidates(argv[0], env):
        try:
            return os.posix_spawn(
                path, list(argv), env, file_actions=actions, setsid=True, setsigdef=_IGNORED_BY_PYTHON
            )
        except OSError as error:
            # As a shell does: what is there and cannot be run counts for more than what is not there.
            if problem is None or error.errno not in _NOT_THERE:
                problem = error
            if error.errno in OUR_LIMITS:
                break
    raise problem or FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), argv[0])


def _candidates(program: bytes, env: Mapping[str, str]) -> Iterator[bytes]:
    """Where a program may be: the path it is given with, or what is there of its name in the folders of ``PATH``."""
    if b"/" in program:
        yield program
        return
    for folder in os.get_exec_path(env):
        path = os.path.join(os.fsencode(folder), program)
        if os.access(path, os.F_OK):
            yield path


def _undo(pid: int, popen: subprocess.Popen[bytes] | None) -> None:
    os.killpg(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    if popen is not None:
        popen.returncode = -signal.SIGKILL  # it would otherwise wait for this number later
