"""The log of a worker: one line per event on standard error, as text or as JSON.

Two kinds of lines share that stream. *Log records* come from the ``logging`` module. *Report lines* tell the person who
started the worker about its jobs, whatever the log level. As text, report lines are written as they are, and log
records get a date and a level. As JSON, both are objects.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final, Literal, TextIO, get_args

LogFormat = Literal["text", "json"]
LogLevel = Literal["debug", "info", "warning", "error"]
LOG_FORMATS: Final[tuple[str, ...]] = get_args(LogFormat)
LOG_LEVELS: Final[tuple[str, ...]] = get_args(LogLevel)

FIELDS: Final = ("job", "queue", "attempt", "worker", "cause")
"""What a record may carry besides its message: ``logger.info("…", extra={"job": job_id})``."""

_HAS_CLOCK: Final = "oneshot_has_clock"
_REPORT: Final = logging.getLogger("oneshot_queue.report")
"""Carries the report lines. Its level is fixed, and its records reach no other logger's handlers."""


class TextFormatter(logging.Formatter):
    """``2026-01-31T12:00:00.123+01:00 WARNING message key=value``; a report line stays as it is.

    A message may quote a job, so all that a terminal would act on is escaped.

    Args:
        defaults: Fields of every record that does not set them itself.
    """

    def __init__(self, defaults: Mapping[str, object] | None = None) -> None:
        super().__init__()
        self._defaults = dict(defaults or {})

    def format(self, record: logging.LogRecord) -> str:
        """The lines of one record, without the final line end."""
        message = printable(record.getMessage())
        if record.name == _REPORT.name:
            clock = time.strftime("%H:%M:%S ", time.localtime(record.created))
            return clock + message if getattr(record, _HAS_CLOCK, False) else message
        fields = fields_of(record, self._defaults).items()
        words = [_instant(record), record.levelname, message, *(f"{key}={_shown(value)}" for key, value in fields)]
        return "\n".join([" ".join(words), *map(printable, _stack_of(self, record).splitlines())])


class JsonFormatter(logging.Formatter):
    """One object per line: time, level, logger, message, the fields that are set, and the exception if there is one.

    Args:
        defaults: Fields of every record that does not set them itself.
    """

    def __init__(self, defaults: Mapping[str, object] | None = None) -> None:
        super().__init__()
        self._defaults = dict(defaults or {})

    def format(self, record: logging.LogRecord) -> str:
        """The object of one record, in ASCII, so that a terminal acts on nothing in it."""
        entry: dict[str, object] = {
            "time": _instant(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **fields_of(record, self._defaults),
        }
        stack = _stack_of(self, record)
        if stack:
            entry["exception"] = stack
        return json.dumps(entry, default=str)


class _Handler(logging.StreamHandler[TextIO]):
    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - the name is logging's
        # The terminal or pipe is gone. The jobs are not, and their records say the same.
        if not isinstance(sys.exc_info()[1], OSError):
            super().handleError(record)


def configure(
    log_format: str = "text", level: str = "warning", *, worker: str | None = None, stream: TextIO | None = None
) -> None:
    """Set up this process's log; a later call replaces the earlier set-up.

    Args:
        log_format: One of ``LOG_FORMATS``.
        level: The lowest level of log records to write, one of ``LOG_LEVELS``.
        worker: Name of the worker, the default of the field ``worker``.
        stream: Where to write; standard error by default.
    """
    defaults = {} if worker is None else {"worker": worker}
    handler = _Handler(stream or sys.stderr)
    handler.setFormatter(JsonFormatter(defaults) if log_format == "json" else TextFormatter(defaults))
    root = logging.getLogger()
    for logger in (root, _REPORT):
        for old in [each for each in logger.handlers if isinstance(each, _Handler)]:
            logger.removeHandler(old)
        logger.addHandler(handler)
    root.setLevel(level.upper())
    _REPORT.propagate = False


def report(
    line: str, *, level: int = logging.INFO, has_clock: bool = False, fields: Mapping[str, str | int] | None = None
) -> None:
    """Write one report line, whatever the log level.

    Args:
        has_clock: Whether the line begins with the time of day as text; as JSON every line has its time anyway.
        fields: Some of ``FIELDS``; written as JSON only.
    """
    if not _REPORT.handlers:
        configure()
    record = logging.LogRecord(_REPORT.name, level, "", 0, line, None, None)
    record.__dict__.update(fields or {})
    record.__dict__[_HAS_CLOCK] = has_clock
    _REPORT.handle(record)


def fields_of(record: logging.LogRecord, defaults: Mapping[str, object]) -> dict[str, Any]:
    """The fields of a record that are set, in the order of ``FIELDS``."""
    values = {key: record.__dict__.get(key, defaults.get(key)) for key in FIELDS}
    return {key: value for key, value in values.items() if value is not None}


def printable(line: str) -> str:
    """Escape all characters that a terminal would act on, line ends included."""
    if line.isprintable():
        return line
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in line)


def _instant(record: logging.LogRecord) -> str:
    """RFC 3339 with milliseconds, in local time with its offset."""
    return datetime.fromtimestamp(record.created, UTC).astimezone().isoformat(timespec="milliseconds")


def _shown(value: object) -> str:
    text = str(value)
    is_plain = text.isprintable() and not any(each in text for each in ' "=') and text
    return text if is_plain else json.dumps(text)


def _stack_of(formatter: logging.Formatter, record: logging.LogRecord) -> str:
    parts = []
    if record.exc_info and record.exc_info[0] is not None:
        parts.append(formatter.formatException(record.exc_info))
    if record.stack_info:
        parts.append(formatter.formatStack(record.stack_info))
    return "\n".join(parts)
