"""Report lines for the person who started the worker."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from oneshot_queue.telemetry.logging import report


class Console:
    """Writes report lines to standard error, in the format that ``telemetry.logging.configure`` set.

    Args:
        is_quiet: Write only lines that need a person's attention.
    """

    def __init__(self, *, is_quiet: bool) -> None:
        self.is_quiet = is_quiet

    def say(self, line: str, *, has_clock: bool = False, fields: Mapping[str, str | int] | None = None) -> None:
        """Write a line, unless quiet.

        Args:
            has_clock: Whether the line begins with the time of day as text.
            fields: Some of ``telemetry.logging.FIELDS``; written as JSON only.
        """
        if not self.is_quiet:
            report(line, has_clock=has_clock, fields=fields)

    def warn(self, line: str, *, has_clock: bool = False, fields: Mapping[str, str | int] | None = None) -> None:
        """Write a line that needs attention, quiet or not; arguments as for ``say``."""
        report(line, level=logging.WARNING, has_clock=has_clock, fields=fields)


def describe_jobs(count: int) -> str:
    """``1 job``, ``2 jobs``."""
    return "1 job" if count == 1 else f"{count} jobs"
