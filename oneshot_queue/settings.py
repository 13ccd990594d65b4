"""The settings, read from environment variables named ``ONESHOT_QUEUE_<FIELD>``."""

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
_SET_BY_KUBERNETES: Final = re.compile(rf"{PREFIX}(SERVICE_(HOST|PORT(_\w+)?)|PORT(_\w+)?)")
"""Kubernetes sets these in every container when a service is named ``oneshot-queue``; they are not settings."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Limits and names on which all clients and workers of one broker should agree.

    Attributes:
        url: URL of the broker, such as ``redis://``, ``rediss://`` or ``unix://``; ``None`` if not set.
        namespace: Prefix of every key, which lets several systems share a server.
        max_queue_length: How many jobs may wait or run in one queue; more are refused.
        keep_completed_s: How many seconds a COMPLETED job stays readable.
        keep_failed_s: How many seconds a FAILED or INTERRUPTED job stays readable.
        max_finished_jobs: How many finished jobs are kept in one queue; the oldest are deleted first.
        max_finished_output_bytes: How many bytes of output are kept for all finished jobs of one queue together.
        lease_s: How many seconds a worker may be silent before other workers mark its jobs lost.
    """

    url: str | None = field(default=None, repr=False)  # it may contain a password, and a repr ends up in logs
    namespace: str = "oq"
    max_queue_length: int = 1_000_000
    keep_completed_s: float = 24 * 3600.0
    keep_failed_s: float = 7 * 24 * 3600.0
    max_finished_jobs: int = 100_000
    max_finished_output_bytes: int = 256 * 1024 * 1024
    lease_s: float = 30.0

    def __post_init__(self) -> None:
        if not NAME_PATTERN.fullmatch(self.namespace):
            raise InvalidSetting("namespace", f"{self.namespace!r} must be 1 to 64 of the characters A-Z a-z 0-9 . _ -")
        for each in fields(self):
            value = getattr(self, each.name)
            if isinstance(value, int | float) and not (math.isfinite(value) and value > 0):
                raise InvalidSetting(each.name, f"{value!r} must be a number greater than 0")

    @classmethod
    def from_env(cls, environ: Mapping[str, str] = os.environ) -> Self:
        """Read all ``ONESHOT_QUEUE_…`` variables; a setting without a variable keeps its default.

        Raises:
            InvalidSetting: A variable is not a setting (a misspelt limit must not be ignored silently), or its value
                is invalid.
        """
        kinds = {each.name: each.type for each in fields(cls)}
        found: dict[str, object] = {}
        for variable, text in environ.items():
            if not variable.startswith(PREFIX) or _SET_BY_KUBERNETES.fullmatch(variable):
                continue
            name = variable.removeprefix(PREFIX).lower()
            if name not in kinds:
                close = difflib.get_close_matches(name, kinds, n=1)
                hint = f"did you mean {PREFIX}{close[0].upper()}?" if close else f"the settings are {_variables(kinds)}"
                raise InvalidSetting(variable, f"unknown setting; {hint}")
            found[name] = _parsed(variable, str(kinds[name]), text)
        return cls(**found)  # type: ignore[arg-type]  # _parsed returns the type of the field


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
        raise InvalidSetting(variable, f"{text!r} is not {'a whole number' if kind == 'int' else 'a number'}") from None
