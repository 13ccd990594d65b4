"""A control group (cgroup v2) of its own for each worker process: whatever a job does, it cannot leave it.

Where the kernel's tree may be written to, at whatever path it is mounted, a worker enters its group before it starts
any job, and all of the group ends with one write. Where it may not, the subreapers do without.
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
"""How long a group may be empty because its worker has not entered it yet."""


def make(worker_id: str) -> str | None:
    """Make the group of a worker below this process' own; ``None`` if that cannot be had here."""
    group = place_for(worker_id)
    if group is None:
        return None
    try:
        group.mkdir()
    except OSError:
        return None
    if not (group / "cgroup.kill").exists():
        # Before Linux 5.14: it would hold processes together, and could not end them.
        remove(str(group))
        return None
    return str(group)


def place_for(worker_id: str) -> Path | None:
    """Where the group of a worker of this process is, or would be."""
    own = own_group()
    return None if own is None else own / f"{PREFIX}{worker_id}"


def enter(group: str) -> bool:
    """Move this process into a group, and with it whatever it starts; whether that worked."""
    try:
        (Path(group) / "cgroup.procs").write_text("0")
    except OSError:
        return False
    return True


def end(group: str, spares: Callable[[int], bool]) -> None:
    """Kill everything in a group but what serves others; that leaves the group."""
    path = Path(group)
    for pid in members(group):
        if spares(pid):
            _write(path.parent / "cgroup.procs", str(pid))
    _write(path / "cgroup.kill", "1")
    try:
        _kill_members(group)
    except OSError:
        # No descriptor to spare: as below.
        return


def members(group: str) -> list[int]:
    """The processes in a group; none if there is no such group."""
    try:
        return [int(word) for word in (Path(group) / "cgroup.procs").read_text().split()]
    except OSError:
        return []


def remove(group: str) -> bool:
    """Remove a group if it is empty; whether it is gone."""
    try:
        os.rmdir(group)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True


def remove_abandoned(now_s: float) -> None:
    """Remove the empty groups of workers that left nothing else, such as notes, by which somebody would find them.

    Args:
        now_s: Seconds since 1970.
    """
    own = own_group()
    for group in [] if own is None else own.glob(f"{PREFIX}*"):
        try:
            # The kernel may take it for younger than it is, never for older.
            if now_s - group.stat().st_ctime > YOUNG_S:
                group.rmdir()
        except OSError:
            # In use, not ours, or gone by now.
            continue


def is_group_of(group: str, worker_id: str) -> bool:
    """Whether a path, which may come from anywhere, is that of a worker's group in a tree that is mounted here."""
    path = Path(group)
    mounts = [Path(mount) for _, mount in _mounts()]
    return path.name == f"{PREFIX}{worker_id}" and ".." not in path.parts and any(map(path.is_relative_to, mounts))


def own_group() -> Path | None:
    """Where this process stands in the tree, as a path that can be opened; ``None`` if it stands in none."""
    try:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        return None
    place = next((line.removeprefix("0::") for line in lines if line.startswith("0::")), None)
    if place is None:
        return None
    for root, mount in _mounts():
        # A mount may show a part of the tree only, as it does in containers.
        if Path(place).is_relative_to(root):
            return Path(mount) / Path(place).relative_to(root)
    return None


def _kill_members(group: str) -> None:
    """Kill what is left: the kernel signals main threads only, and one that has exited does not pass it on."""
    left = [status for pid in members(group) if (status := status_of(pid)) is not None]
    # Looked at again: a number that another process got meanwhile names none of the group's.
    still = set(members(group))
    for status in left:
        if status.pid in still:
            send_signal(status, signal.SIGKILL)


def _mounts() -> list[tuple[str, str]]:
    """For each mount of the tree: what of it is shown there, and where."""
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
        # The process or the group is gone, or not ours: the subreapers end what is left.
        return
