"""Starts a command as the leader of a new session, with descriptors 0, 1 and 2 and no others.

``os.posix_spawn`` costs two thirds of ``subprocess.Popen``, and is used where it can do everything that is needed. For
the rest ``Popen`` gets no argument that would cost its ``vfork``: no ``preexec_fn``, no user or group.
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
"""Errors of this machine that do not depend on the command. The start may succeed later."""

_NOT_THERE: Final = frozenset({errno.ENOENT, errno.ENOTDIR})

_OUTPUTS: Final = tuple(OutputStream)
"""In the order of their numbers: the pipes become descriptors 1 and 2."""

_IGNORED_BY_PYTHON: Final = (signal.SIGPIPE, signal.SIGXFSZ)
"""Signals that Python ignores. A program expects their default action."""


class SpawnPostponed(Exception):
    """This machine cannot start a process now. Nothing was started, and a retry may succeed."""

    def __init__(self, problem: OSError) -> None:
        self.problem = problem
        super().__init__(f"cannot start a process now: {problem.strerror}; will retry")


def seal_descriptors() -> None:
    """Mark every descriptor of this process but 0, 1 and 2 as close-on-exec.

    Python opens all descriptors that way. Those it was started with may be inheritable.
    """
    for name in os.listdir("/proc/self/fd"):
        if int(name) > 2:
            try:
                os.set_inheritable(int(name), False)
            except OSError:
                # The descriptor of the listing itself, which is closed by now.
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
    """Start a command, with a pipe for each output or one terminal for both.

    Args:
        argv: Program and arguments.
        cwd: Working directory; that of this process if ``None``.
        env: The complete environment of the process.
        with_stdin: Whether the input is a pipe. Otherwise it is ``/dev/null``.
        with_terminal: Whether the outputs are a pseudo-terminal.
        is_sealed: Whether ``seal_descriptors`` was called. Otherwise the child closes inherited descriptors itself.

    Raises:
        SpawnRefused: The command cannot be run here. No process of it is left.
        SpawnPostponed: This machine cannot start a process now.
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
        # Close the command's side first: the pidfd needs a free descriptor.
        files.close_theirs()
        return Process(pid, pidfd_open(pid), files.outputs, files.stdin, terminal, popen)
    except BaseException as error:
        files.close_theirs()
        files.close_ours()
        if pid is not None:
            _undo(pid, popen)
        if pid is not None and isinstance(error, OSError):
            # The command may have begun to run, so it must not be started again.
            problem = f"the process was killed because it could not be monitored: {error}"
            raise SpawnRefused(problem, NOT_EXECUTABLE) from error
        if isinstance(error, OSError) and error.errno in OUR_LIMITS:
            raise SpawnPostponed(error) from error
        if isinstance(error, OSError | ValueError):
            raise refusal(error, argv, cwd=cwd, env=env) from error
        raise


class _Files:
    """The pipes, or the terminal, between this process and a command.

    Attributes:
        outputs: Our ends of the outputs.
        stdin: Our end of the input, if it is a pipe.
        theirs: The descriptors that become 0, 1 and 2 of the command.
    """

    def __init__(self) -> None:
        self.outputs: dict[OutputStream, int] = {}
        self.stdin: int | None = None
        self.theirs: list[int] = []

    def open(self, *, with_stdin: bool, with_terminal: bool) -> None:
        """Open all of them. On an error, some may be open: the caller closes them."""
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
            # As in a shell: a program that cannot be run is reported rather than one that does not exist.
            if problem is None or error.errno not in _NOT_THERE:
                problem = error
            if error.errno in OUR_LIMITS:
                break
    raise problem or FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), argv[0])


def _candidates(program: bytes, env: Mapping[str, str]) -> Iterator[bytes]:
    """Yield the paths to try: the program itself if it contains a slash, otherwise the matches in ``PATH``."""
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
        popen.returncode = -signal.SIGKILL  # otherwise Popen would later wait for this process id
