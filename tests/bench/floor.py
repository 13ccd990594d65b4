"""What Python and the kernel alone need for the same commands: no queue, no state, no limits, nothing written down.

Each process starts commands by ``os.posix_spawn`` with two pipes for their output, waits for exits and output by
``epoll`` and pidfds, and reaps. Nobody who starts commands from Python, and reads what they write, is faster than this.
"""

from __future__ import annotations

import os
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Final

from oneshot_queue.bench.figures import Line, MeasurementSpoilt, median_of
from oneshot_queue.bench.fleet import TRUE
from oneshot_queue.bench.sizes import Sizes
from oneshot_queue.pidfd import pidfd_open

SLOTS: Final = 4
_PATIENCE_S: Final = 60.0


def measure(sizes: Sizes) -> Iterator[Line]:
    """One process and two, by turns."""
    rates: dict[int, list[float]] = {1: [], 2: []}
    for _ in range(sizes.rounds):
        for processes, found in rates.items():
            found.append(_rate(processes, sizes.commands))
    for processes, found in rates.items():
        kind = f"{processes} bare process{'es' if processes > 1 else ''} of Python, {SLOTS} commands at once"
        yield median_of(found, kind, "commands/s")


def _rate(processes: int, commands: int) -> float:
    argv = [sys.executable, "-P", __file__, str(commands // processes), str(SLOTS // processes)]
    started = [subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) for _ in range(processes)]
    try:
        for each in started:
            assert each.stdout is not None, "it was started with a pipe"
            each.stdout.readline()  # it is there, and waits
        began = time.perf_counter()
        for each in started:
            assert each.stdin is not None, "it was started with a pipe"
            each.stdin.close()
        statuses = [each.wait(_PATIENCE_S) for each in started]
        took_s = time.perf_counter() - began
    finally:
        for each in started:
            each.kill()
            each.wait()
            for pipe in (each.stdin, each.stdout):
                if pipe is not None:
                    pipe.close()
    if any(statuses):
        raise MeasurementSpoilt(f"bare processes ended with {statuses}")
    return commands / took_s


def _run(commands: int, slots: int) -> None:
    epoll = select.epoll()
    exits: dict[int, int] = {}
    outputs: set[int] = set()
    left = commands
    while left or exits or outputs:
        while left and len(exits) < slots:
            left -= 1
            pipes = [os.pipe2(os.O_CLOEXEC) for _ in range(2)]
            files = [(os.POSIX_SPAWN_DUP2, writer, number) for number, (_, writer) in enumerate(pipes, 1)]
            pid = os.posix_spawn(TRUE[0], TRUE, {}, file_actions=files, setsid=True)
            for reader, writer in pipes:
                os.close(writer)
                epoll.register(reader, select.EPOLLIN)
                outputs.add(reader)
            fd = pidfd_open(pid)
            epoll.register(fd, select.EPOLLIN)
            exits[fd] = pid
        for fd, _ in epoll.poll():
            if fd in outputs:
                if os.read(fd, 65_536):
                    continue
                outputs.remove(fd)
            elif os.waitpid(exits.pop(fd), 0)[1]:
                sys.exit(1)
            # A command that has just been started may still hold a copy: to close ours would not end the watch.
            epoll.unregister(fd)
            os.close(fd)


if __name__ == "__main__":
    print(flush=True)  # noqa: T201 - whoever measures waits for it
    sys.stdin.read()
    _run(int(sys.argv[1]), int(sys.argv[2]))
