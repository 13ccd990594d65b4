"""One real process: how it is started, signalled as a group, and reaped.

``subprocess.Popen`` with nothing that would cost its ``vfork``: no ``preexec_fn``, no user or group. The child gets a
session of its own and the descriptors 0, 1 and 2, and no others.
"""

from __future__ import annotations

import errno
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Final

from oneshot_queue.events import OutputStream
from oneshot_queue.jobs import Usage
from oneshot_queue.pidfd import P_PIDFD, pidfd_open
from workers.processes.spawn_errors import NOT_EXECUTABLE, SpawnRefused, refusal
from workers.processes.terminal import open_terminal

OUR_LIMITS: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.EAGAIN, errno.ENOMEM, errno.ENOSPC})
"""What this machine lacks, whatever the command is: the start may succeed later."""


class SpawnPostponed(Exception):
    """The machine could not start a process now; nothing was started."""

    def __init__(self, problem: OSError) -> None:
        self.problem = problem
        super().__init__(f"cannot start a process now: {problem.strerror}; it will be tried again")


@dataclass(frozen=True, slots=True)
class Exit:
    """How the process itself ended: by a code or by a signal. Neither is known if somebody else reaped it."""

    code: int | None
    signal: int | None
    usage: Usage

    @property
    def status(self) -> int | None:
        """The code, or the negative of the signal."""
        return self.code if self.signal is None else -self.signal


class Process:
    """A process of ours and the ends of its pipes.

    Its number stays valid until ``reap``: until then it is at worst a zombie, and no other process or group can get it.

    Attributes:
        pidfd: Readable once the process has exited.
        outputs: Our non-blocking ends of its outputs; a single one if they are a terminal.
        stdin: Our non-blocking end of its input, if it has one.
        is_reaped: Whether its number may belong to another process by now.
    """

    __slots__ = ("_popen", "_terminal", "is_reaped", "outputs", "pid", "pidfd", "stdin")

    def __init__(
        self,
        popen: subprocess.Popen[bytes],
        pidfd: int,
        outputs: dict[OutputStream, int],
        stdin: int | None,
        terminal: str | None,
    ) -> None:
        self.pid = popen.pid
        self.pidfd = pidfd
        self.outputs = outputs
        self.stdin = stdin
        self.is_reaped = False
        self._popen = popen
        self._terminal = terminal

    def output_names(self) -> set[str]:
        """What its open outputs are called in ``/proc`` where the command's side is open."""
        if self._terminal is not None:
            return {self._terminal} if self.outputs else set()
        return {f"pipe:[{os.fstat(fd).st_ino}]" for fd in self.outputs.values()}

    def signal_group(self, number: int) -> None:
        """Signal every process of its group; nothing happens once it was reaped, or if none may be signalled."""
        if self.is_reaped:
            return
        try:
            os.killpg(self.pid, number)
        except (ProcessLookupError, PermissionError):
            return

    def has_exited(self) -> bool:
        """Whether it has ended by itself or by a signal, without reaping it."""
        if self.is_reaped:
            return True
        flags = os.WEXITED | os.WNOHANG | os.WNOWAIT
        try:
            return os.waitid(P_PIDFD, self.pidfd, flags) is not None
        except ChildProcessError:
            return True

    def reap(self) -> Exit | None:
        """Take its exit status and what it used; ``None`` if it has not exited. To be called once it has."""
        try:
            pid, status, used = os.wait4(self.pid, os.WNOHANG)
        except ChildProcessError:
            # SIGCHLD is ignored here, or other code in this process waits for any child.
            self._forget(0)
            return Exit(None, None, Usage())
        if pid == 0:
            return None
        code = os.waitstatus_to_exitcode(status)
        self._forget(code)
        usage = Usage(used.ru_utime, used.ru_stime, used.ru_maxrss * 1024)
        return Exit(code, None, usage) if code >= 0 else Exit(None, -code, usage)

    def close(self) -> None:
        """Close what is still open of our ends."""
        for stream in list(self.outputs):
            os.close(self.outputs.pop(stream))
        if self.stdin is not None:
            os.close(self.stdin)
            self.stdin = None
        if self.pidfd >= 0:
            os.close(self.pidfd)
            self.pidfd = -1

    def _forget(self, code: int) -> None:
        # Popen would otherwise wait for this number later, when it may be another child's.
        self._popen.returncode = code
        self.is_reaped = True


def spawn(
    argv: Sequence[bytes], *, cwd: str | None, env: Mapping[str, str], with_stdin: bool, with_terminal: bool
) -> Process:
    """Start a command as the leader of a new session, with a pipe for each output or a terminal for both.

    Raises:
        SpawnRefused: The command cannot be run here; no process is left of the attempt.
        SpawnPostponed: This machine cannot start any process now.
    """
    try:
        with ExitStack() as ours, ExitStack() as theirs:
            process = _spawn(argv, cwd, env, with_stdin, with_terminal, ours, theirs)
            ours.pop_all()
            return process
    except (OSError, ValueError) as error:
        if isinstance(error, OSError) and error.errno in OUR_LIMITS:
            raise SpawnPostponed(error) from error
        raise refusal(error, argv, cwd=cwd, env=env) from error


def _spawn(
    argv: Sequence[bytes],
    cwd: str | None,
    env: Mapping[str, str],
    with_stdin: bool,
    with_terminal: bool,
    ours: ExitStack,
    theirs: ExitStack,
) -> Process:
    stdin = subprocess.DEVNULL
    our_stdin = None
    if with_stdin:
        stdin, our_stdin = _opened(os.pipe2(os.O_CLOEXEC), theirs, ours)
        os.set_blocking(our_stdin, False)
    outputs = {}
    if with_terminal:
        outputs[OutputStream.STDOUT], stdout = _opened(open_terminal(), ours, theirs)
        stderr = stdout
    else:
        outputs[OutputStream.STDOUT], stdout = _opened(os.pipe2(os.O_CLOEXEC), ours, theirs)
        outputs[OutputStream.STDERR], stderr = _opened(os.pipe2(os.O_CLOEXEC), ours, theirs)
    for fd in outputs.values():
        os.set_blocking(fd, False)
    terminal = os.ttyname(stdout) if with_terminal else None
    popen = subprocess.Popen(argv, stdin=stdin, stdout=stdout, stderr=stderr, cwd=cwd, env=env, start_new_session=True)
    # Popen has just closed two descriptors of its own, so there is room for this one.
    return Process(popen, _watched(popen), outputs, our_stdin, terminal)


def _opened(ends: tuple[int, int], first: ExitStack, second: ExitStack) -> tuple[int, int]:
    """Two descriptors, and who closes which of them."""
    first.callback(os.close, ends[0])
    second.callback(os.close, ends[1])
    return ends


def _watched(popen: subprocess.Popen[bytes]) -> int:
    try:
        return pidfd_open(popen.pid)
    except OSError as error:
        # It has begun, so it may not be started again, and it cannot be watched.
        os.killpg(popen.pid, signal.SIGKILL)
        popen.wait()
        problem = f"its process was started but could not be watched, and was killed: {error}"
        raise SpawnRefused(problem, NOT_EXECUTABLE) from error
