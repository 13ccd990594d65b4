"""What a finding is, and the report to which checks add them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from oneshot_queue.client.doctor.meanings import KINDS
from oneshot_queue.store.checkup import Anomaly

MAX_OF_A_KIND: Final = 100
"""Findings of one kind and queue that are listed one by one; the rest are only counted."""


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
        severity: How much it matters.
        queue: The queue it was found in; ``None`` for the server or this machine.
        subject: The job, lease, entry or key it is about.
        what: What was found.
        meaning: What that means.
        advice: What to do about it.
        is_repairable: Whether ``repair`` would fix it now.
        is_repaired: Whether it was repaired.
        count: How many findings this one stands for.
    """

    code: str
    severity: Severity
    queue: str | None
    subject: str
    what: str
    meaning: str
    advice: str
    is_repairable: bool = False
    is_repaired: bool = False
    count: int = 1

    @property
    def is_open(self) -> bool:
        """Whether something is wrong and was not repaired."""
        return self.severity is not Severity.INFO and not self.is_repaired


class Report:
    """Collects the findings of one examination. A finding that two checks come across is added once."""

    def __init__(self) -> None:
        self._findings: dict[tuple[str | None, str, str], Finding] = {}
        self._counts: Counter[tuple[str | None, str]] = Counter()
        self._others: Counter[tuple[str | None, str, bool]] = Counter()

    def add(
        self,
        code: str,
        subject: str,
        detail: str = "",
        *,
        queue: str | None = None,
        severity: Severity | None = None,
        is_repairable: bool | None = None,
        is_repaired: bool = False,
    ) -> None:
        """Add a finding of a known kind.

        Args:
            code: One of ``meanings.KINDS``.
            subject: The job, lease, entry or key it is about.
            detail: Replaces ``{detail}`` in the kind's text.
            queue: The queue it was found in.
            severity: Overrides the severity of the kind.
            is_repairable: Overrides what the kind says.
            is_repaired: Whether it was repaired.
        """
        key = (queue, code, subject)
        if key in self._findings:
            return
        if self._counts[queue, code] >= MAX_OF_A_KIND:
            self._others[queue, code, is_repaired] += 1
            return
        self._counts[queue, code] += 1
        kind = KINDS[code]
        self._findings[key] = Finding(
            code=code,
            severity=severity or Severity(kind.severity),
            queue=queue,
            subject=subject,
            what=kind.what.format(detail=detail),
            meaning=kind.meaning,
            advice=kind.advice,
            is_repairable=kind.is_repairable if is_repairable is None else is_repairable,
            is_repaired=is_repaired,
        )

    def add_all(self, queue: str, anomalies: Iterable[Anomaly]) -> None:
        """Add the anomalies that a script found."""
        for each in anomalies:
            self.add(each.code, each.subject, each.detail, queue=queue, is_repaired=each.is_repaired)

    def findings(self) -> list[Finding]:
        """All findings: those of the server first, then queue by queue, each in the order in which they were found."""
        found = list(self._findings.values())
        for (queue, code, is_repaired), count in self._others.items():
            like = next(each for each in found if (each.queue, each.code) == (queue, code))
            found.append(replace(like, subject=f"{count} more", is_repaired=is_repaired, count=count))
        return sorted(found, key=lambda each: (each.queue is not None, each.queue or ""))
