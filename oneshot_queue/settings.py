"""What can be set from outside, by environment variables named ``ONESHOT_QUEUE_<FIELD>``."""

from __future__ import annotations

import difflib
import math
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import Final, Self

from oneshot_queue.checks import NAME_PATTERN
from oneshot_queue.errors import InvalidSetting

PREFIX: Final = "ONESHOT_QUEUE_"
_OF_A_SERVICE: Final = re.compile(rf"{PREFIX}(SERVICE_(HOST|PORT(_\w+)?)|PORT(_\w+)?)")
"""Kubernetes sets these in every container when a service is called ``oneshot-queue``; they are no settings."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Limits and names that all parties of one broker should agree on.

    Attributes:
        url: The broker: ``redis://``, ``rediss://`` or ``unix://``; ``None`` where none was set.
        namespace: Prefix of every key, so that several systems can share a server.
        max_queue_length: Jobs that may wait or run in one queue; more are refused.
        keep_completed_s: Seconds a COMPLETED job stays readable.
        keep_failed_s: Seconds a FAILED or INTERRUPTED job stays readable.
        max_finished_jobs: Finished jobs kept in one queue; the oldest go first.
        max_finished_output_bytes: Bytes of output kept of all finished jobs of one queue.
        lease_s: Seconds a worker may be silent before others may decide its jobs.
    """

    url: str | None = field(default=None, repr=False)  # it may hold a password, and a repr ends up in logs
    namespace: str = "oq"
    max_queue_length: int = 1_000_000
    keep_completed_s: float = 24 * 3600.0
    keep_failed_s: float = 7 * 24 * 3600.0
    max_finished_jobs: int = 100_000
    max_finished_output_bytes: int = 256 * 1024 * 1024
    lease_s: float = 30.0

    def __post_init__(self) -> None:
        if not NAME_PATTERN.fullmatch(self.namespace):
            raise InvalidSetting("namespace", f"{self.namespace!r} must be 1 to 64 characters out of A-Z a-z 0-9 . _ -")
        for each in fields(self):
            value = getattr(self, each.name)
            if isinstance(value, int | float) and not (math.isfinite(value) and value > 0):
                raise InvalidSetting(each.name, f"{value!r} must be a number above 0")

    @classmethod
    def from_env(cls, environ: Mapping[str, str] = os.environ) -> Self:
        """Read every ``ONESHOT_QUEUE_…`` variable; what is not set keeps its default.

        Raises:
            InvalidSetting: A variable that is no setting (a misspelt limit must not be silently ignored), or a value of
                the wrong kind.
        """
        kinds = {each.name: each.type for each in fields(cls)}
        found: dict[str, object] = {}
        for variable, text in environ.items():
            if not variable.startswith(PREFIX) or _OF_A_SERVICE.fullmatch(variable):
                continue
            name = variable.removeprefix(PREFIX).lower()
            if name not in kinds:
                close = difflib.get_close_matches(name, kinds, n=1)
                hint = f"did you mean {PREFIX}{close[0].upper()}?" if close else f"known: {_variables(kinds)}"
                raise InvalidSetting(variable, f"unknown setting; {hint}")
            found[name] = _parsed(variable, str(kinds[name]), text)
        return cls(**found)  # type: ignore[arg-type]  # each value was parsed by its field's own kind


def _variables(names: Iterable[str]) -> str:
    return ", ".join(PREFIX + name.upper() for name in sorted(names))


def _parsed(variable: str, kind: str, text: str) -> str | int | float | None:
    try:
        match kind:
            case "int":
                return int(text)
            case "float":
                return float(text)
            case "str":
                return text
            case _:
                return text or None
    except ValueError:
        raise InvalidSetting(variable, f"{text!r} is no number") from None
