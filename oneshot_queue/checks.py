"""Which values the fields of a job may have. Pure.

Each check returns the value as a ``JobSpec`` holds it, or raises ``InvalidJob`` with the name of the field.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping, Sequence
from typing import Final

from oneshot_queue.errors import InvalidJob

NAME_PATTERN: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
"""Valid names of queues, jobs, workers, ids and label keys. None of these characters could forge a key or a glob."""

MAX_ARGUMENTS: Final = 4096
MAX_ARGUMENT_BYTES: Final = 131_071
"""Linux' limit for one argument or one ``K=V`` (MAX_ARG_STRLEN, 128 KiB, less the final NUL)."""
MAX_COMMAND_BYTES: Final = 262_144
MAX_ENV_VARIABLES: Final = 256
MAX_ENV_BYTES: Final = 131_072
MAX_LABELS: Final = 32
MAX_LABEL_CHARS: Final = 256
MAX_CWD_BYTES: Final = 4096
MAX_STDIN_BYTES: Final = 1_048_576
MAX_DURATION_S: Final = 366 * 86_400.0
MAX_RETRIES: Final = 1_000
RESERVED_ENV_PREFIX: Final = "ONESHOT_"


def checked_name(field_name: str, value: str) -> str:
    """Return ``value`` if it is a valid name.

    Raises:
        InvalidJob: It does not match ``NAME_PATTERN``.
    """
    if not isinstance(value, str) or not NAME_PATTERN.fullmatch(value):
        raise InvalidJob(field_name, f"{value!r} must be 1 to 64 of the characters A-Z a-z 0-9 . _ -")
    return value


def checked_id(value: str) -> str:
    """Return ``value`` if it is a valid job id.

    Raises:
        InvalidJob: It is not a valid name, or it is ``last``, which the command line reserves for the newest job.
    """
    if checked_name("id", value) == "last":
        raise InvalidJob("id", "'last' is reserved for the job enqueued last; choose another id")
    return value


def os_bytes(value: str | bytes) -> bytes:
    """Encode text for the kernel: UTF-8, with the surrogates of ``os.fsdecode`` turned back into their bytes."""
    return value if isinstance(value, bytes) else value.encode("utf-8", "surrogateescape")


def os_text(raw: bytes) -> str:
    """The inverse of ``os_bytes``."""
    return raw.decode("utf-8", "surrogateescape")


def checked_command(_: str, command: object) -> tuple[str | bytes, ...]:
    """Return the argv as a tuple if it is not empty, has no NUL byte and is within the limits."""
    if isinstance(command, str | bytes):
        line = command if isinstance(command, str) else os_text(command)
        advice = f"{line.split() or ['true']!r}, or ['/bin/sh', '-c', {line!r}] to use a shell"
        raise InvalidJob("command", f"must be a list of words, not one string; write {advice}")
    if not isinstance(command, Sequence):
        raise InvalidJob("command", f"must be a list of words, not {type(command).__name__}")
    if not command or not command[0]:
        raise InvalidJob("command", "is empty; the first word must name the program")
    if len(command) > MAX_ARGUMENTS:
        raise InvalidJob("command", f"has {len(command)} words; the limit is {MAX_ARGUMENTS}")
    total = 0
    for position, word in enumerate(command):
        raw = _encoded(f"command word {position}", word)
        if b"\0" in raw:
            raise InvalidJob("command", f"word {position} contains a NUL byte, which cannot be passed to a program")
        if len(raw) > MAX_ARGUMENT_BYTES:
            raise InvalidJob("command", f"word {position} has {len(raw)} bytes; the limit is {MAX_ARGUMENT_BYTES}")
        total += len(raw)
    if total > MAX_COMMAND_BYTES:
        raise InvalidJob("command", f"has {total} bytes; the limit is {MAX_COMMAND_BYTES}; pass large input as stdin")
    return tuple(command)


def _encoded(what: str, value: object) -> bytes:
    if isinstance(value, bytes):
        return value
    if not isinstance(value, str):
        raise InvalidJob(what, f"must be text or bytes, not {type(value).__name__}")
    try:
        return os_bytes(value)
    except UnicodeEncodeError:
        raise InvalidJob(what, f"{value!r} cannot be encoded as UTF-8; pass bytes") from None


def checked_cwd(_: str, cwd: object) -> str:
    """Return the path if it is absolute and within the limit."""
    raw = _encoded("cwd", cwd)
    if not raw.startswith(b"/"):
        raise InvalidJob("cwd", f"{cwd!r} must be an absolute path, because the worker may run on another machine")
    if b"\0" in raw or len(raw) > MAX_CWD_BYTES:
        raise InvalidJob("cwd", f"must have no NUL byte and at most {MAX_CWD_BYTES} bytes")
    return os_text(raw)


def checked_env(_: str, env: object) -> dict[str, str]:
    """Return a copy if ``execve`` accepts all names and values, they are within the limits, and none is reserved."""
    if not isinstance(env, Mapping):
        raise InvalidJob("env", f"must be a mapping of names to values, not {type(env).__name__}")
    if len(env) > MAX_ENV_VARIABLES:
        raise InvalidJob("env", f"has {len(env)} variables; the limit is {MAX_ENV_VARIABLES}")
    total = 0
    for name, value in env.items():
        raw_name, raw_value = _encoded("env", name), _encoded(f"env {name!r}", value)
        if not isinstance(name, str) or not isinstance(value, str):
            raise InvalidJob("env", f"{name!r} and its value must be text")
        if not raw_name or b"=" in raw_name or b"\0" in raw_name + raw_value:
            raise InvalidJob(
                "env", f"{name!r}: a name must not be empty or contain '='; name and value must not contain a NUL byte"
            )
        if name.startswith(RESERVED_ENV_PREFIX):
            raise InvalidJob("env", f"{name}: names that begin with {RESERVED_ENV_PREFIX} are reserved for the worker")
        if len(raw_name) + len(raw_value) + 1 > MAX_ARGUMENT_BYTES:
            raise InvalidJob("env", f"{name} is longer than {MAX_ARGUMENT_BYTES} bytes")
        total += len(raw_name) + len(raw_value)
    if total > MAX_ENV_BYTES:
        raise InvalidJob("env", f"has {total} bytes; the limit is {MAX_ENV_BYTES}")
    return dict(env)


def checked_labels(_: str, labels: object) -> dict[str, str]:
    """Return a copy if all keys are valid names and all values are short printable texts."""
    if not isinstance(labels, Mapping):
        raise InvalidJob("labels", f"must be a mapping of names to texts, not {type(labels).__name__}")
    if len(labels) > MAX_LABELS:
        raise InvalidJob("labels", f"has {len(labels)} labels; the limit is {MAX_LABELS}")
    for key, value in labels.items():
        checked_name("label", key)
        if not isinstance(value, str) or len(value) > MAX_LABEL_CHARS or not value.isprintable():
            raise InvalidJob("label", f"{key}: must be at most {MAX_LABEL_CHARS} printable characters")
    return dict(labels)


def checked_stdin(_: str, stdin: object) -> bytes | None:
    """Return ``None``, or the bytes if they are within the limit."""
    if stdin is None or isinstance(stdin, bytes):
        if stdin is not None and len(stdin) > MAX_STDIN_BYTES:
            raise InvalidJob(
                "stdin", f"has {len(stdin)} bytes; the limit is {MAX_STDIN_BYTES}; pass the path of a file instead"
            )
        return stdin
    raise InvalidJob("stdin", f"must be bytes, not {type(stdin).__name__}")


def checked_duration(field_name: str, value: object) -> float | None:
    """Return seconds from 0 to 366 days as a float; ``None`` stays ``None``."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InvalidJob(field_name, f"must be a number of seconds, not {type(value).__name__}")
    if not math.isfinite(value) or not 0 <= value <= MAX_DURATION_S:
        raise InvalidJob(field_name, f"{value!r} must be from 0 to {MAX_DURATION_S:.0f} seconds (366 days)")
    return float(value)


def checked_limit(field_name: str, value: object) -> float | None:
    """Return a duration that limits something; 0 means no limit and becomes ``None``."""
    return checked_duration(field_name, value) or None


def checked_wait(field_name: str, value: object) -> float:
    """Return a duration to wait; ``None`` becomes 0."""
    return checked_duration(field_name, value) or 0.0


def checked_flag(field_name: str, value: object) -> bool:
    """Return the value if it is ``True`` or ``False``; 0 and 1 are not accepted."""
    if not isinstance(value, bool):
        raise InvalidJob(field_name, f"must be True or False, not {value!r}")
    return value


def checked_count(field_name: str, value: object, *, most: int) -> int:
    """Return the value if it is a whole number from 0 to ``most``."""
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= most:
        raise InvalidJob(field_name, f"{value!r} must be a whole number from 0 to {most}")
    return value


def checked_retries(field_name: str, value: object) -> int:
    """Return the value if it is a whole number from 0 to ``MAX_RETRIES``."""
    return checked_count(field_name, value, most=MAX_RETRIES)


def checked_retry_of(_: str, value: str) -> str:
    """Return the value if it is a valid job id."""
    return checked_id(value)


def checked_codes(_: str, codes: object) -> tuple[int, ...]:
    """Return the exit codes sorted, without duplicates."""
    if isinstance(codes, str | bytes) or not isinstance(codes, Collection) or not codes:
        raise InvalidJob("success_codes", "must be one or more exit codes")
    for code in codes:
        if isinstance(code, bool) or not isinstance(code, int) or not 0 <= code <= 255:
            raise InvalidJob("success_codes", f"{code!r} must be a whole number from 0 to 255")
    return tuple(sorted(set(codes)))
