"""A program that runs commands with as little overhead as Python allows; a benchmark starts it as a process.

Usage: ``bare.py SLOTS COMMANDS`` runs ``/bin/true`` COMMANDS times; ``bare.py SLOTS URL LEASE`` runs the jobs that wait
in the benchmark's queue, under a registered lease. It prints a line when it is ready, and begins when stdin closes.

Commands are started with ``os.posix_spawn`` and two pipes for their output, and awaited with ``epoll`` and pidfds. Jobs
are claimed and finished with the worker's own scripts, in one exchange. There is nothing else: no event loop, no
states, limits, interrupts or renewals, no cleanup of leftover processes, no recovery after a crash.
"""

from __future__ import annotations

import os
import select
import socket
import sys
from typing import Any, Final
from urllib.parse import urlsplit

import hiredis

from oneshot_queue.bench.fleet import QUEUE, TRUE
from oneshot_queue.outcomes import Cause, Outcome, Usage
from oneshot_queue.pidfd import pidfd_open
from oneshot_queue.settings import Settings
from oneshot_queue.states import JobState
from oneshot_queue.store import attempts, claims
from oneshot_queue.store.attempts import Holder
from oneshot_queue.store.calls import Call, packed
from oneshot_queue.store.claims import Claim
from oneshot_queue.store.keys import QueueKeys
from oneshot_queue.wire.specs import unpack_spec

CHUNK: Final = 65_536
SETTINGS: Final = Settings()
KEYS: Final = QueueKeys(SETTINGS.namespace, QUEUE)


class Commands:
    """The running commands, and the read ends of their pipes."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._running: dict[int, tuple[int, Claim | None]] = {}
        self._outputs: set[int] = set()

    def __len__(self) -> int:
        return len(self._running)

    @property
    def are_over(self) -> bool:
        """Whether nothing is left to wait for."""
        return not self._running and not self._outputs

    def start(self, argv: tuple[bytes | str, ...], environment: dict[str, str], claim: Claim | None = None) -> None:
        """Start one command."""
        pipes = [os.pipe2(os.O_CLOEXEC) for _ in range(2)]
        files = [(os.POSIX_SPAWN_DUP2, writer, number) for number, (_, writer) in enumerate(pipes, 1)]
        pid = os.posix_spawn(argv[0], argv, environment, file_actions=files, setsid=True)
        for reader, writer in pipes:
            os.close(writer)
            self._epoll.register(reader, select.EPOLLIN)
            self._outputs.add(reader)
        pidfd = pidfd_open(pid)
        self._epoll.register(pidfd, select.EPOLLIN)
        self._running[pidfd] = pid, claim

    def wait(self) -> list[tuple[Claim | None, int, Usage]]:
        """Wait for an event, and return the commands that have exited, with their process ids."""
        ended = []
        for fd, _ in self._epoll.poll():
            if fd in self._outputs:
                if os.read(fd, CHUNK):
                    continue
                self._outputs.remove(fd)
            else:
                pid, claim = self._running.pop(fd)
                _, status, used = os.wait4(pid, 0)
                if status:
                    sys.exit(1)
                ended.append((claim, pid, Usage(used.ru_utime, used.ru_stime, used.ru_maxrss * 1024)))
            # Unregister explicitly: a command just started may hold a copy, so closing ours would not end the watch.
            self._epoll.unregister(fd)
            os.close(fd)
        return ended


class Line:
    """A connection that sends one batch of calls at a time."""

    def __init__(self, url: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(urlsplit(url).path)
        self._reader = hiredis.Reader()
        self._sent: set[str] = set()

    def ask(self, calls: list[Call[Any]]) -> list[Any]:
        """Run calls in one exchange, and return their answers."""
        self._socket.sendall(packed([self._words(call) for call in calls]))
        return [call.read(self._reply()) for call in calls]

    def _words(self, call: Call[Any]) -> tuple[Any, ...]:
        assert call.script is not None, "only scripts are called here"
        is_new = call.script.sha not in self._sent
        self._sent.add(call.script.sha)
        return call.command(whole_text=is_new)

    def _reply(self) -> Any:
        while (reply := self._reader.gets()) is False:
            self._reader.feed(self._socket.recv(CHUNK))
        if isinstance(reply, Exception):
            raise reply
        return reply


def run_alone(slots: int, count: int) -> None:
    """Run ``count`` commands, ``slots`` at once."""
    commands = Commands()
    while count or not commands.are_over:
        while count and len(commands) < slots:
            count -= 1
            commands.start(TRUE, {})
        commands.wait()


def run_jobs(slots: int, url: str, lease: str) -> None:
    """Run the waiting jobs, until there are none."""
    commands, line = Commands(), Line(url)
    ended: list[tuple[Claim | None, int, Usage]] = []
    is_empty = False
    while not is_empty or ended or not commands.are_over:
        calls: list[Call[Any]] = [_finish(lease, claim, pid, usage) for claim, pid, usage in ended if claim is not None]
        free = slots - len(commands)
        if free and not is_empty:
            calls.append(claims.claim(KEYS, lease=lease, worker="bare", host="bare", free=free, settings=SETTINGS))
        answers = line.ask(calls) if calls else []
        if len(answers) > len(ended):
            for claim in answers[-1].claims:
                spec = unpack_spec(claim.spec, claim.stdin)
                commands.start(spec.argv, {"ONESHOT_TOKEN": claim.token}, claim)
            is_empty = not answers[-1].claims
        ended = [] if commands.are_over else commands.wait()


def _finish(lease: str, claim: Claim, pid: int, usage: Usage) -> Call[Any]:
    outcome = Outcome(JobState.COMPLETED, Cause.EXIT, 0, usage=usage)
    holder = Holder(claim.token, lease, "bare")
    return attempts.finish(
        KEYS,
        claim.job_id,
        holder,
        outcome,
        ago_ms=0,
        inline_output=b"",
        kept=0,
        fields={"pid": pid},
        settings=SETTINGS,
    )


if __name__ == "__main__":
    print(flush=True)  # noqa: T201 - the benchmark waits for it
    sys.stdin.read()
    if len(sys.argv) > 3:
        run_jobs(int(sys.argv[1]), sys.argv[2], sys.argv[3])
    else:
        run_alone(int(sys.argv[1]), int(sys.argv[2]))
