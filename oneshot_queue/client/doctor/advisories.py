"""Known vulnerabilities and faults of servers that matter to a queue, and the versions that fix them. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

Version = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Advisory:
    """One vulnerability or fault.

    Attributes:
        name: Its public number.
        text: What can happen.
        fixed_in: For each branch (major and minor number), the first fixed version. A branch that is not listed is
            affected if it is older than the last listed one, and not affected if it is newer.
        since: The first affected version.
        is_fault_only: It is not a vulnerability but a faulty command, which oneshot-queue avoids.
    """

    name: str
    text: str
    fixed_in: tuple[Version, ...]
    since: Version = (0,)
    is_fault_only: bool = False

    def affects(self, version: Version) -> bool:
        """Whether a version is affected."""
        if version < self.since:
            return False
        for fixed in self.fixed_in:
            if version[:2] == fixed[:2]:
                return version < fixed
        return version < self.fixed_in[-1]


_REDIS: Final = (
    Advisory(
        "CVE-2025-49844",
        "Lua scripts can execute code on the server",
        ((6, 2, 20), (7, 2, 11), (7, 4, 6), (8, 0, 4), (8, 2, 2)),
    ),
    Advisory("CVE-2025-62507", "XACKDEL can execute code on the server", ((8, 2, 3),), since=(8, 2)),
    Advisory("CVE-2022-31144", "XAUTOCLAIM can execute code on the server", ((7, 0, 4),), since=(7, 0)),
    Advisory("CVE-2022-35951", "XAUTOCLAIM can execute code on the server", ((7, 0, 5),), since=(7, 0)),
    Advisory("redis#8725", "XAUTOCLAIM loses its position", ((6, 2, 2),), is_fault_only=True),
    Advisory("redis#12301", "a blocked XREADGROUP may hang", ((7, 2, 0),), since=(7, 0), is_fault_only=True),
    Advisory(
        "redis#15478",
        "XREADGROUP can read keys that the ACL forbids",
        ((8, 2, 9),),
        is_fault_only=True,
    ),
)
_VALKEY: Final = (
    Advisory("CVE-2025-49844", "Lua scripts can execute code on the server", ((7, 2, 11), (8, 0, 6), (8, 1, 4))),
)


def advisories_of(version: Version, *, is_valkey: bool) -> list[Advisory]:
    """The advisories that affect a version."""
    return [advisory for advisory in (_VALKEY if is_valkey else _REDIS) if advisory.affects(version)]
