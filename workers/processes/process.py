"""One real process: how it is signalled as a group, and reaped."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass

from oneshot_queue.outcomes import Usage
from oneshot_queue.pidfd import P_PIDFD
from oneshot_queue.task_events import OutputStream


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
        if self._popen is not None:
            # It would otherwise wait for this number later, when it may be another child's.
            self._popen.returncode = code
        self.is_reaped = True
