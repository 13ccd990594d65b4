"""The real command line as a subprocess, with pipes or on its own terminal."""

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

from tests.support.limits import limit_s
from tests.support.waiting import LIMIT_S

_LIMIT_S: Final = limit_s(LIMIT_S)
PROGRAM: Final = (sys.executable, "-P", "-m", "oneshot_queue")
# The new process makes its stdin the controlling terminal of its session, as a login shell does.
_ON_TERMINAL: Final = (
    sys.executable,
    *("-I", "-S", "-c"),
    "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execv(sys.argv[1], sys.argv[1:])",
)


@dataclass(frozen=True, slots=True)
class Done:
    """A finished command line."""

    code: int
    out: bytes
    err: str

    @property
    def text(self) -> str:
        """Its standard output as text."""
        return self.out.decode()

    @property
    def line(self) -> str:
        """Its standard output, which must be one line."""
        assert self.text.count("\n") == 1, self
        return self.text.rstrip("\n")

    @property
    def json(self) -> Any:
        """Its standard output as JSON."""
        return json.loads(self.out)


class Cli:
    """A user at a shell.

    Args:
        url: URL of the broker, or ``None`` for the local broker.
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
        """Run a command line until it exits."""
        done = subprocess.run(
            [*PROGRAM, *words],
            input=stdin,
            capture_output=True,
            env={**self.env, **(env or {})},
            cwd=cwd,
            timeout=2 * _LIMIT_S,
            check=False,
        )
        return _checked(Done(done.returncode, done.stdout, done.stderr.decode(errors="backslashreplace")))

    def start(self, *words: str | bytes, **options: Any) -> Running:
        """Start a command line; it is killed at the end of the test if it still runs."""
        running = Running([*PROGRAM, *words], env=self.env, **options)
        self._started.append(running)
        return running

    def on_terminal(self, *words: str, columns: int = 80, env: Mapping[str, str] | None = None) -> Terminal:
        """Start a command line on its own terminal."""
        terminal = Terminal([*PROGRAM, *words], env={**self.env, **(env or {})}, columns=columns)
        self._started.append(terminal)
        return terminal

    def job(self, job_id: str) -> Any:
        """The JSON that ``show`` prints for a job."""
        return self("show", "--json", job_id).json

    def close(self) -> None:
        """Kill the command lines that still run."""
        for each in self._started:
            each.close()


class Running:
    """A running command line with pipes."""

    def __init__(self, argv: Sequence[str | bytes], *, env: Mapping[str, str], **options: Any) -> None:
        settings: dict[str, Any] = {
            "stdin": subprocess.DEVNULL,
            "stdout": subprocess.PIPE,
            "stderr": subprocess.PIPE,
            **options,
        }
        self.process = subprocess.Popen(argv, env=dict(env), start_new_session=True, **settings)
        self._received = {"out": bytearray(), "err": bytearray()}
        self._changed = threading.Condition()
        self._readers = [
            threading.Thread(target=self._read, args=(name, stream), daemon=True)
            for name, stream in (("out", self.process.stdout), ("err", self.process.stderr))
            if stream is not None
        ]
        for reader in self._readers:
            reader.start()

    def until(self, text: str | bytes, *, on: str = "err") -> None:
        """Wait until it has written a text."""
        wanted = text.encode() if isinstance(text, str) else text
        with self._changed:
            found = self._changed.wait_for(lambda: wanted in self._received[on], timeout=_LIMIT_S)
        assert found, f"waited for {wanted!r} on {on}; received {self._received}"

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self.process.send_signal(number)

    def done(self) -> Done:
        """Wait until it exits."""
        try:
            code = self.process.wait(_LIMIT_S)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"it still runs; received {self._received}") from None
        for reader in self._readers:
            reader.join(_LIMIT_S)
        return _checked(
            Done(code, bytes(self._received["out"]), self._received["err"].decode(errors="backslashreplace"))
        )

    def close(self) -> None:
        """Kill it if it still runs."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        for reader in self._readers:
            reader.join(_LIMIT_S)

    def _read(self, name: str, stream: Any) -> None:
        with stream:
            while piece := os.read(stream.fileno(), 65_536):
                with self._changed:
                    self._received[name] += piece
                    self._changed.notify_all()


class Terminal:
    """A command line that runs on its own pseudo-terminal."""

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
        r"""Type keys; ``b"\\x03"`` is Ctrl-C."""
        os.write(self._ours, keys)

    def until(self, text: str | bytes) -> None:
        """Wait until it has written a text."""
        wanted = text.encode() if isinstance(text, str) else text
        deadline = time.monotonic() + _LIMIT_S
        while wanted not in self.seen:
            assert self._read(deadline), f"waited for {wanted!r}; seen {self.seen!r}"

    def done(self) -> Done:
        """Wait until it exits; everything it wrote is in ``out``."""
        deadline = time.monotonic() + _LIMIT_S
        while self._read(deadline):
            pass
        try:
            code = self.process.wait(max(0.1, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            raise AssertionError(f"it still runs; seen {self.seen!r}") from None
        assert b"Traceback" not in self.seen, self.seen
        return Done(code, self.seen.replace(b"\r\n", b"\n"), "")

    def close(self) -> None:
        """Kill it if it still runs."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self._ours)

    def _read(self, deadline: float) -> bool:
        ready, _, _ = select.select([self._ours], [], [], max(0.0, deadline - time.monotonic()))
        try:
            piece = os.read(self._ours, 65_536) if ready else b""
        except OSError:
            piece = b""  # EIO: the last process has closed it.
        self.seen += piece
        return bool(piece)


def _checked(done: Done) -> Done:
    assert "Traceback" not in done.err, done.err
    assert "internal error" not in done.err, done.err
    return done
