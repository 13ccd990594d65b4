"""What a finding is, and the notebook in which checks note them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from oneshot_queue.client.doctor.meanings import MEANINGS
from oneshot_queue.store.checkup import Anomaly

MOST_OF_A_KIND: Final = 100
"""Findings of one kind and queue that are told one by one; of the rest, only how many there are."""


class Severity(StrEnum):
    """How much a finding matters."""

    INFO = "info"
    WARNING = "warning"
    PROBLEM = "problem"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that the doctor found.

    Attributes:
        code: Its kind, for programs.
        queue: The queue it was found in; ``None`` for the server itself.
        subject: The job, lease, entry or key it is about.
        what: What was found.
        meaning: What that means.
        advice: What to do about it.
        is_mendable: Whether ``repair`` mends it, now.
        is_mended: Whether it was mended.
        count: How many it stands for.
    """

    code: str
    severity: Severity
    queue: str | None
    subject: str
    what: str
    meaning: str
    advice: str
    is_mendable: bool = False
    is_repaired: bool = False
    count: int = 1

    @property
    def is_open(self) -> bool:
        """Whether something is wrong, and stays so until somebody does something."""
        return self.severity is not Severity.INFO and not self.is_repaired


class Notebook:
    """Collects the findings of one examination; a job that two checks come across is noted once."""

    def __init__(self) -> None:
        self._findings: dict[tuple[str | None, str, str], Finding] = {}
        self._counts: Counter[tuple[str | None, str]] = Counter()
        self._others: Counter[tuple[str | None, str, bool]] = Counter()

    def note(
        self,
        code: str,
        subject: str,
        detail: str = "",
        *,
        queue: str | None = None,
        severity: Severity | None = None,
        is_mendable: bool | None = None,
        is_repaired: bool = False,
    ) -> None:
        """Note a finding of a known kind.

        Args:
            detail: Stands in its text.
            severity: Another one than its kind has.
            is_mendable: Whether it can be mended, where that is not always so for its kind.
        """
        place = (queue, code, subject)
        if place in self._findings:
            return
        if self._counts[queue, code] >= MOST_OF_A_KIND:
            self._others[queue, code, is_repaired] += 1
            return
        self._counts[queue, code] += 1
        kind = MEANINGS[code]
        self._findings[place] = Finding(
            code=code,
            severity=severity or Severity(kind.severity),
            queue=queue,
            subject=subject,
            what=kind.what.format(detail=detail),
            meaning=kind.meaning,
            advice=kind.advice,
            is_mendable=kind.is_mendable if is_mendable is None else is_mendable,
            is_repaired=is_repaired,
        )

    def note_all(self, queue: str, finds: Iterable[Anomaly]) -> None:
        """Note what a script came across."""
        for find in finds:
            self.note(find.code, find.subject, find.detail, queue=queue, is_repaired=find.is_repaired)

    def findings(self) -> list[Finding]:
        """All of them: the server's first, then queue by queue, each in the order in which they were found."""
        found = list(self._findings.values())
        for (queue, code, is_repaired), count in self._others.items():
            like = next(each for each in found if (each.queue, each.code) == (queue, code))
            found.append(replace(like, subject=f"{count} more", is_repaired=is_repaired, count=count))
        return sorted(found, key=lambda each: (each.queue is not None, each.queue or ""))
