"""One real process: how it is started, signalled as a group, and reaped.

``subprocess.Popen`` with nothing that would cost its ``vfork``: no ``preexec_fn``, no user or group. The child gets a
session of its own and the descriptors 0, 1 and 2, and no others.
"""

from __future__ import annotations

import errno
import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from oneshot_queue.events import OutputStream
from oneshot_queue.jobs import Usage
from workers.processes.pidfd import P_PIDFD, pidfd_open
from workers.processes.spawn_errors import SpawnRefused, refusal
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


class Process:
    """A process of ours and the ends of its pipes.

    Its number stays valid until ``reap``: until then it is at worst a zombie, and no other process or group can get it.

    Attributes:
        pidfd: Readable once the process has exited.
        outputs: Our non-blocking ends of its outputs; a single one if they are a terminal.
        stdin: Our non-blocking end of its input, if it has one.
    """

    __slots__ = ("_popen", "_reaped", "outputs", "pid", "pidfd", "stdin")

    def __init__(
        self, popen: subprocess.Popen[bytes], pidfd: int, outputs: dict[OutputStream, int], stdin: int | None
    ) -> None:
        self.pid = popen.pid
        self.pidfd = pidfd
        self.outputs = outputs
        self.stdin = stdin
        self._popen = popen
        self._reaped = False

    @property
    def is_reaped(self) -> bool:
        """Whether its number may belong to another process by now."""
        return self._reaped

    def signal_group(self, number: int) -> None:
        """Signal every process of its group; nothing happens once it was reaped, or if none may be signalled."""
        if self._reaped:
            return
        try:
            os.killpg(self.pid, number)
        except (ProcessLookupError, PermissionError):
            return

    def has_exited(self) -> bool:
        """Whether it has ended by itself or by a signal, without reaping it."""
        if self._reaped:
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
        self._reaped = True


def spawn(
    argv: Sequence[bytes], *, cwd: str | None, env: Mapping[str, str], with_stdin: bool, with_terminal: bool = False
) -> Process:
    """Start a command as the leader of a new session, with a pipe for each output or a terminal for both.

    Raises:
        SpawnRefused: The command cannot be run here; no process is left of the attempt.
        SpawnPostponed: This machine cannot start any process now.
    """
    ours: list[int] = []
    theirs: list[int] = []
    try:
        return _spawn(argv, cwd, env, with_stdin, with_terminal, ours, theirs)
    except BaseException as error:
        for fd in ours:
            os.close(fd)
        if isinstance(error, OSError) and error.errno in OUR_LIMITS:
            raise SpawnPostponed(error) from error
        if isinstance(error, OSError | ValueError):
            raise refusal(error, argv, cwd=cwd, env=env) from error
        raise
    finally:
        for fd in theirs:
            os.close(fd)


def _spawn(
    argv: Sequence[bytes],
    cwd: str | None,
    env: Mapping[str, str],
    with_stdin: bool,
    with_terminal: bool,
    ours: list[int],
    theirs: list[int],
) -> Process:
    stdin = subprocess.DEVNULL
    our_stdin = None
    if with_stdin:
        stdin, our_stdin = _kept(os.pipe2(os.O_CLOEXEC), theirs, ours)
        os.set_blocking(our_stdin, False)
    outputs = {}
    if with_terminal:
        outputs[OutputStream.STDOUT], stdout = _kept(open_terminal(), ours, theirs)
        stderr = stdout
    else:
        outputs[OutputStream.STDOUT], stdout = _kept(os.pipe2(os.O_CLOEXEC), ours, theirs)
        outputs[OutputStream.STDERR], stderr = _kept(os.pipe2(os.O_CLOEXEC), ours, theirs)
    for fd in outputs.values():
        os.set_blocking(fd, False)
    popen = subprocess.Popen(
        argv,
        stdin=stdin,
        stdout=stdout,
        stderr=stderr,
        cwd=cwd,
        env=env,
        start_new_session=True,
    )
    # Popen has just closed two descriptors of its own, so there is room for this one.
    return Process(popen, _watched(popen), outputs, our_stdin)


def _kept(ends: tuple[int, int], first: list[int], second: list[int]) -> tuple[int, int]:
    """Note who has to close which of two descriptors."""
    first.append(ends[0])
    second.append(ends[1])
    return ends


def _watched(popen: subprocess.Popen[bytes]) -> int:
    try:
        return pidfd_open(popen.pid)
    except OSError as error:
        # It has begun, so it may not be started again, and it cannot be watched.
        os.killpg(popen.pid, 9)
        popen.wait()
        raise SpawnRefused(f"its process was started but could not be watched, and was killed: {error}", 126) from error
