"""Known holes and faults of servers that matter to a queue, and the versions in which they are closed. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

Version = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Advisory:
    """One hole.

    Attributes:
        fixed_in: For each branch (major and minor number), the first version without it. A branch that is not named
            has it if it lies between named ones or before the first, and is free of it after the last.
        since: The first version that has it.
        is_fault_only: It is no danger, but a command that goes wrong, and that the queue does without.
    """

    name: str
    text: str
    fixed_in: tuple[Version, ...]
    since: Version = (0,)
    is_fault_only: bool = False

    def is_in(self, version: Version) -> bool:
        """Whether a version has it."""
        if version < self.since:
            return False
        for fixed in self.fixed_in:
            if version[:2] == fixed[:2]:
                return version < fixed
        return version < self.fixed_in[-1]


_REDIS: Final = (
    Advisory(
        "CVE-2025-49844",
        "a script may run code on the server",
        ((6, 2, 20), (7, 2, 11), (7, 4, 6), (8, 0, 4), (8, 2, 2)),
    ),
    Advisory("CVE-2025-62507", "XACKDEL may run code on the server", ((8, 2, 3),), since=(8, 2)),
    Advisory("CVE-2022-31144", "XAUTOCLAIM may run code on the server", ((7, 0, 4),), since=(7, 0)),
    Advisory("CVE-2022-35951", "XAUTOCLAIM may run code on the server", ((7, 0, 5),), since=(7, 0)),
    Advisory("redis#8725", "XAUTOCLAIM loses its place", ((6, 2, 2),), is_fault_only=True),
    Advisory("redis#12301", "a blocked XREADGROUP may hang", ((7, 2, 0),), since=(7, 0), is_fault_only=True),
    Advisory(
        "redis#15478",
        "XREADGROUP reads keys that an ACL forbids",
        ((8, 2, 9),),
        is_fault_only=True,
    ),
)
_VALKEY: Final = (
    Advisory("CVE-2025-49844", "a script may run code on the server", ((7, 2, 11), (8, 0, 6), (8, 1, 4))),
)


def advisories_of(version: Version, *, is_valkey: bool) -> list[Advisory]:
    """The holes that a version has."""
    return [hole for hole in (_VALKEY if is_valkey else _REDIS) if hole.is_in(version)]
