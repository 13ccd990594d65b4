"""The real command line as a subprocess: with pipes, or on a terminal of its own."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.support.waiting import LIMIT_S

PROGRAM: Final = (sys.executable, "-P", "-m", "oneshot_queue")
# The new process makes its input the terminal that controls its session, as a shell's login does.
_ON_TERMINAL: Final = (
    sys.executable,
    *("-I", "-S", "-c"),
    "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execv(sys.argv[1], sys.argv[1:])",
)


@dataclass(frozen=True, slots=True)
class Done:
    """A command line that has ended."""

    code: int
    out: bytes
    err: str

    @property
    def text(self) -> str:
        """Its data as text."""
        return self.out.decode()

    @property
    def line(self) -> str:
        """Its data, which must be one line."""
        assert self.text.count("\n") == 1, self
        return self.text.rstrip("\n")

    @property
    def form(self) -> Any:
        """Its data as JSON."""
        return json.loads(self.out)


class Cli:
    """A user at a shell.

    Args:
        url: The broker's, or ``None`` for the local one.
        state: The user's state folder.
    """

    def __init__(self, url: str | None, namespace: str, state: Path) -> None:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("ONESHOT_")}
        for name in ("NO_COLOR", "COLUMNS", "LINES", "TERM"):
            kept.pop(name, None)
        self.env = kept | {
            "ONESHOT_QUEUE_NAMESPACE": namespace,
            "XDG_STATE_HOME": str(state),
            "LC_ALL": "C.UTF-8",
            "TERM": "xterm",
        }
        if url is not None:
            self.env["ONESHOT_QUEUE_URL"] = url
        self.namespace = namespace
        self.state = state
        self._started: list[Running | Terminal] = []

    def __call__(
        self,
        *words: str | bytes,
        stdin: bytes = b"",
        env: Mapping[str, str] | None = None,
        cwd: Path | str | None = None,
    ) -> Done:
        """Run it to its end."""
        done = subprocess.run(
            [*PROGRAM, *words],
            input=stdin,
            capture_output=True,
            env={**self.env, **(env or {})},
            cwd=cwd,
            timeout=2 * LIMIT_S,
            check=False,
        )
        return _checked(Done(done.returncode, done.stdout, done.stderr.decode(errors="backslashreplace")))

    def start(self, *words: str | bytes, **options: Any) -> Running:
        """Start it; it ends by itself, or with the test."""
        running = Running([*PROGRAM, *words], env=self.env, **options)
        self._started.append(running)
        return running

    def on_terminal(self, *words: str, columns: int = 80, env: Mapping[str, str] | None = None) -> Terminal:
        """Start it on a terminal of its own."""
        terminal = Terminal([*PROGRAM, *words], env={**self.env, **(env or {})}, columns=columns)
        self._started.append(terminal)
        return terminal

    def job(self, job_id: str) -> Any:
        """What ``show`` says of a job."""
        return self("show", "--json", job_id).form

    def close(self) -> None:
        """End what still runs."""
        for each in self._started:
            each.close()


class Running:
    """A command line that runs, with a pipe at each end."""

    def __init__(self, argv: Sequence[str | bytes], *, env: Mapping[str, str], **options: Any) -> None:
        settings: dict[str, Any] = {
            "stdin": subprocess.DEVNULL,
            "stdout": subprocess.PIPE,
            "stderr": subprocess.PIPE,
            **options,
        }
        self.process = subprocess.Popen(argv, env=dict(env), start_new_session=True, **settings)
        self._heard = {"out": bytearray(), "err": bytearray()}
        self._changed = threading.Condition()
        self._readers = [
            threading.Thread(target=self._read, args=(name, stream), daemon=True)
            for name, stream in (("out", self.process.stdout), ("err", self.process.stderr))
            if stream is not None
        ]
        for reader in self._readers:
            reader.start()

    def until(self, text: str | bytes, *, on: str = "err") -> None:
        """Wait until it has written this."""
        wanted = text.encode() if isinstance(text, str) else text
        with self._changed:
            found = self._changed.wait_for(lambda: wanted in self._heard[on], timeout=LIMIT_S)
        assert found, f"waited for {wanted!r} on {on}; heard {self._heard}"

    def signal(self, number: signal.Signals) -> None:
        """Signal it."""
        self.process.send_signal(number)

    def done(self) -> Done:
        """Wait for its end."""
        try:
            code = self.process.wait(LIMIT_S)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"it still runs; heard {self._heard}") from None
        for reader in self._readers:
            reader.join(LIMIT_S)
        return _checked(Done(code, bytes(self._heard["out"]), self._heard["err"].decode(errors="backslashreplace")))

    def close(self) -> None:
        """End it if it still runs."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        for reader in self._readers:
            reader.join(LIMIT_S)

    def _read(self, name: str, stream: Any) -> None:
        with stream:
            while piece := os.read(stream.fileno(), 65_536):
                with self._changed:
                    self._heard[name] += piece
                    self._changed.notify_all()


class Terminal:
    """A command line that runs on a terminal of its own: what it writes and what is typed go through the kernel's."""

    def __init__(self, argv: Sequence[str], *, env: Mapping[str, str], columns: int) -> None:
        self._ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        self.process = subprocess.Popen(
            [*_ON_TERMINAL, *argv],
            env=dict(env),
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
        )
        os.close(theirs)
        self.seen = b""

    def type(self, keys: bytes) -> None:
        r"""Press keys; ``b"\\x03"`` is Ctrl-C."""
        os.write(self._ours, keys)

    def until(self, text: str | bytes) -> None:
        """Wait until it has written this."""
        wanted = text.encode() if isinstance(text, str) else text
        deadline = time.monotonic() + LIMIT_S
        while wanted not in self.seen:
            assert self._read(deadline), f"waited for {wanted!r}; seen {self.seen!r}"

    def done(self) -> Done:
        """Wait for its end; all it wrote counts as data."""
        deadline = time.monotonic() + LIMIT_S
        while self._read(deadline):
            pass
        try:
            code = self.process.wait(max(0.1, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            raise AssertionError(f"it still runs; seen {self.seen!r}") from None
        assert b"Traceback" not in self.seen, self.seen
        return Done(code, self.seen.replace(b"\r\n", b"\n"), "")

    def close(self) -> None:
        """End it if it still runs."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self._ours)

    def _read(self, deadline: float) -> bool:
        ready, _, _ = select.select([self._ours], [], [], max(0.0, deadline - time.monotonic()))
        try:
            piece = os.read(self._ours, 65_536) if ready else b""
        except OSError:
            piece = b""  # EIO: the last process has closed it
        self.seen += piece
        return bool(piece)


def _checked(done: Done) -> Done:
    assert "Traceback" not in done.err, done.err
    assert "internal error" not in done.err, done.err
    return done
