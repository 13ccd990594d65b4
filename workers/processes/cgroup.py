"""One control group (cgroup v2) for each worker process, which its jobs cannot leave.

If the cgroup tree is writable, wherever it is mounted, a worker enters its group before it starts a job. One write then
kills the whole group. If the tree is not writable, the subreapers alone find the processes.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Final

from oneshot_queue.workers.processes.procfs import send_signal, status_of

PREFIX: Final = "oneshot-queue-"

YOUNG_S: Final = 60.0
"""Seconds for which a new group may be empty because its worker has not entered it yet."""


def make(worker_id: str) -> str | None:
    """Create the group of a worker below the group of this process. Return ``None`` if that is not possible here."""
    group = group_path(worker_id)
    if group is None:
        return None
    try:
        group.mkdir()
    except OSError:
        return None
    if not (group / "cgroup.kill").exists():
        # Before Linux 5.14 a group holds its processes, but cannot be killed as one.
        remove(str(group))
        return None
    return str(group)


def group_path(worker_id: str) -> Path | None:
    """Return the path of the group of a worker of this process, whether or not it exists."""
    own = own_group()
    return None if own is None else own / f"{PREFIX}{worker_id}"


def enter(group: str) -> bool:
    """Move this process, and the processes it will start, into a group. Return whether that worked."""
    try:
        (Path(group) / "cgroup.procs").write_text("0")
    except OSError:
        return False
    return True


def kill(group: str, spares: Callable[[int], bool]) -> None:
    """Kill all processes in a group, except those that ``spares`` names: they are moved to the parent group."""
    path = Path(group)
    for pid in members(group):
        if spares(pid):
            _write(path.parent / "cgroup.procs", str(pid))
    _write(path / "cgroup.kill", "1")
    try:
        _kill_members(group)
    except OSError:
        # No free descriptor: the subreapers end the rest.
        return


def members(group: str) -> list[int]:
    """Return the processes in a group. Empty if the group does not exist."""
    try:
        return [int(word) for word in (Path(group) / "cgroup.procs").read_text().split()]
    except OSError:
        return []


def remove(group: str) -> bool:
    """Remove a group if it is empty. Return whether it is gone."""
    try:
        os.rmdir(group)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True


def remove_abandoned(now_s: float) -> None:
    """Remove the empty groups of dead workers that left no worker directory by which they could be found.

    Args:
        now_s: Seconds since 1970.
    """
    own = own_group()
    for group in [] if own is None else own.glob(f"{PREFIX}*"):
        try:
            # The age may be underestimated, never overestimated.
            if now_s - group.stat().st_ctime > YOUNG_S:
                group.rmdir()
        except OSError:
            # In use, not ours, or already removed.
            continue


def is_group_of(group: str, worker_id: str) -> bool:
    """Return whether an untrusted path is that of this worker's group, in a cgroup tree that is mounted here."""
    path = Path(group)
    mounts = [Path(mount) for _, mount in _mounts()]
    return path.name == f"{PREFIX}{worker_id}" and ".." not in path.parts and any(map(path.is_relative_to, mounts))


def own_group() -> Path | None:
    """Return the path of the group of this process. ``None`` if it is in none, or if the group is not mounted here."""
    try:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        return None
    place = next((line.removeprefix("0::") for line in lines if line.startswith("0::")), None)
    if place is None:
        return None
    for root, mount in _mounts():
        # A mount may show only a part of the tree, for example in a container.
        if Path(place).is_relative_to(root):
            return Path(mount) / Path(place).relative_to(root)
    return None


def _kill_members(group: str) -> None:
    """Kill the rest: ``cgroup.kill`` signals main threads only, which has no effect on one that has exited."""
    left = [status for pid in members(group) if (status := status_of(pid)) is not None]
    # Check again: a process id that was reused meanwhile is not in the group.
    still = set(members(group))
    for status in left:
        if status.pid in still:
            send_signal(status, signal.SIGKILL)


def _mounts() -> list[tuple[str, str]]:
    """Return, for each mount of the tree, the group it shows as its root, and its path."""
    found = []
    try:
        lines = Path("/proc/self/mountinfo").read_text(errors="surrogateescape").splitlines()
    except OSError:
        return []
    for line in lines:
        before, _, after = line.partition(" - ")
        words = before.split(" ")
        if after.startswith("cgroup2 ") and len(words) > 4:
            found.append((_unescaped(words[3]), _unescaped(words[4])))
    return found


def _unescaped(word: str) -> str:
    for code, plain in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        word = word.replace(code, plain)
    return word


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text)
    except OSError:
        # The process or the group is gone, or not ours: the subreapers end the rest.
        return
