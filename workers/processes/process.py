"""One process: signal its group, check for its exit, reap it."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass

from oneshot_queue.outcomes import Usage
from oneshot_queue.pidfd import P_PIDFD
from oneshot_queue.task_events import OutputStream


@dataclass(frozen=True, slots=True)
class ExitStatus:
    """How a process exited: by a code or by a signal. Both are ``None`` if other code reaped it."""

    code: int | None
    signal: int | None
    usage: Usage

    @property
    def returncode(self) -> int | None:
        """The exit code or the negative signal number, as in ``subprocess``; ``None`` if unknown."""
        return self.code if self.signal is None else -self.signal


class Process:
    """A child process that leads its own group, and our ends of its pipes.

    Its process id stays valid until ``reap``. Until then an exited process is a zombie, and the kernel does not reuse
    its id for another process or group.

    Attributes:
        pidfd: Readable once the process has exited.
        outputs: Our non-blocking ends of its outputs that are still open. A terminal has a single one.
        stdin: Our non-blocking end of its input; ``None`` if it has none, or if it is closed.
        is_reaped: Whether its process id may now belong to another process.
    """

    __slots__ = ("_popen", "_terminal", "is_reaped", "outputs", "pid", "pidfd", "stdin")

    def __init__(
        self,
        pid: int,
        pidfd: int,
        outputs: dict[OutputStream, int],
        stdin: int | None = None,
        terminal: str | None = None,
        popen: subprocess.Popen[bytes] | None = None,
    ) -> None:
        self.pid = pid
        self.pidfd = pidfd
        self.outputs = outputs
        self.stdin = stdin
        self.is_reaped = False
        self._popen = popen
        self._terminal = terminal

    def output_names(self) -> set[str]:
        """Return the names by which ``/proc`` shows its open outputs in a process that holds the other side."""
        if self._terminal is not None:
            return {self._terminal} if self.outputs else set()
        return {f"pipe:[{os.fstat(fd).st_ino}]" for fd in self.outputs.values()}

    def signal_group(self, number: int) -> None:
        """Signal every process of its group. Do nothing if it was reaped or may not be signalled."""
        if self.is_reaped:
            return
        try:
            os.killpg(self.pid, number)
        except (ProcessLookupError, PermissionError):
            return

    def has_exited(self) -> bool:
        """Return whether it has exited, without reaping it."""
        if self.is_reaped:
            return True
        flags = os.WEXITED | os.WNOHANG | os.WNOWAIT
        try:
            return os.waitid(P_PIDFD, self.pidfd, flags) is not None
        except ChildProcessError:
            return True

    def reap(self) -> ExitStatus | None:
        """Reap the process and return its exit status and resource use; ``None`` if it has not exited."""
        try:
            pid, status, used = os.wait4(self.pid, os.WNOHANG)
        except ChildProcessError:
            # SIGCHLD is ignored, or other code in this process waits for any child.
            self._forget(0)
            return ExitStatus(None, None, Usage())
        if pid == 0:
            return None
        code = os.waitstatus_to_exitcode(status)
        self._forget(code)
        usage = Usage(used.ru_utime, used.ru_stime, used.ru_maxrss * 1024)
        return ExitStatus(code, None, usage) if code >= 0 else ExitStatus(None, -code, usage)

    def close(self) -> None:
        """Close our ends that are still open."""
        for stream in list(self.outputs):
            os.close(self.outputs.pop(stream))
        if self.stdin is not None:
            os.close(self.stdin)
            self.stdin = None
        if self.pidfd >= 0:
            os.close(self.pidfd)
            self.pidfd = -1

    def _forget(self, code: int) -> None:
        if self._popen is not None:
            # Otherwise Popen would later wait for this process id, which may then belong to another child.
            self._popen.returncode = code
        self.is_reaped = True
