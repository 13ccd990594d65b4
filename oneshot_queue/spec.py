"""What was asked for (``JobSpec``), what became of it (``JobRecord``), and how an attempt ended (``Outcome``).

Values only: nothing here does I/O. A ``JobSpec`` that exists is valid; whatever made no sense was refused by name.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from enum import StrEnum
from typing import Any, Final, Self

from oneshot_queue.checks import (
    checked_codes,
    checked_command,
    checked_count,
    checked_cwd,
    checked_duration,
    checked_env,
    checked_flag,
    checked_id,
    checked_labels,
    checked_name,
    checked_stdin,
    os_bytes,
)
from oneshot_queue.errors import InvalidJob
from oneshot_queue.outcomes import Cause, Outcome
from oneshot_queue.states import JobState

DEFAULT_IDLE_AFTER_S: Final = 60.0
DEFAULT_GRACE_S: Final = 10.0
DEFAULT_RETRY_DELAY_S: Final = 1.0
DEFAULT_RETRY_MAX_DELAY_S: Final = 300.0
MAX_RETRIES: Final = 1_000


class Priority(StrEnum):
    """Which of a queue's three streams a job waits in; claims empty them in this order."""

    HIGH = "high"
    NORMAL = "normal"
    LOW = "low"


DEFAULT_RETRY_ON: Final = (Cause.EXIT, Cause.SIGNAL, Cause.TIME_LIMIT, Cause.IDLE_TIMEOUT, Cause.WORKER_LOST)
"""After which ends a job is run again, if it asks for retries and does not say after which."""


@dataclass(frozen=True, slots=True)
class JobSpec:
    """One command and how to run it: all that a worker needs to know, and nothing of what became of it.

    Args:
        command: The argv, never seen by a shell. Text is stored as UTF-8; pass bytes for anything else.
        name: A label for people, by ``NAME_PATTERN``.
        cwd: Absolute working directory on the worker; ``None`` is the worker's own.
        env: Variables on top of those the worker lets through. ``ONESHOT_…`` is reserved.
        labels: ``key: text`` pairs to find jobs by; keys by ``NAME_PATTERN``, values up to 256 printable characters.
        priority: ``high``, ``normal`` or ``low``.
        stdin: What the command reads, up to 1 MiB; ``None`` is ``/dev/null``.
        time_limit: Seconds the command may run; 0 and ``None`` are no limit.
        idle_after: Seconds of silence after which the job is IDLE; 0 and ``None`` are never.
        idle_timeout: Seconds of silence after which the job is ended; 0 and ``None`` are never.
        grace: Seconds between SIGTERM and SIGKILL; 0 kills at once.
        success_codes: Exit codes, 0 to 255, that count as COMPLETED.
        pty: Whether it writes to a pseudo-terminal, both streams to the same, which comes as ``stdout``. Programs that
            hold their output back on a pipe, and look silent, write a line at a time to a terminal.
        retries: How often the command may be run again, up to 1,000. 0: what was started is never started again.
        retry_on: After which ends: ``exit``, ``signal``, ``worker_lost``, ``time_limit`` and ``idle_timeout``, and
            exit codes, 1 to 255, which count on their own where ``exit`` is not named.
        retry_delay: Seconds before the first retry, doubled for every further one.
        retry_max_delay: Seconds that this wait never exceeds.
        exclusive: Whether it is ended, however well it runs, before its worker's lease could be given away: so that no
            other attempt, and nobody who asks Redis, can ever overlap with it. A job that is run again when its
            worker is lost is exclusive in any case.
        retry_of: The id of the job that this one repeats.

    Raises:
        InvalidJob: Any of these makes no sense; the message names it.
    """

    command: Sequence[str | bytes]
    name: str | None = None
    cwd: str | None = None
    env: Mapping[str, str] = field(default_factory=dict, repr=False)
    labels: Mapping[str, str] = field(default_factory=dict)
    priority: str = Priority.NORMAL
    stdin: bytes | None = field(default=None, repr=False)
    time_limit: float | None = None
    idle_after: float | None = DEFAULT_IDLE_AFTER_S
    idle_timeout: float | None = None
    grace: float = DEFAULT_GRACE_S
    success_codes: Collection[int] = (0,)
    pty: bool = False
    retries: int = 0
    retry_on: Collection[str | int] = DEFAULT_RETRY_ON
    retry_delay: float = DEFAULT_RETRY_DELAY_S
    retry_max_delay: float = DEFAULT_RETRY_MAX_DELAY_S
    exclusive: bool = False
    retry_of: str | None = None

    def __post_init__(self) -> None:
        # A frozen dataclass can only be normalised through object.__setattr__.
        put = object.__setattr__
        put(self, "command", checked_command(self.command))
        for name, default, checked in _CHECKS:
            value = getattr(self, name)
            # Most fields of most jobs have their defaults, which are valid.
            if value is not default:
                put(self, name, checked(name, value))

    @property
    def argv(self) -> tuple[bytes, ...]:
        """The command as the kernel gets it."""
        return tuple(os_bytes(word) for word in self.command)

    @property
    def is_exclusive(self) -> bool:
        """Whether it must not run on when its worker's lease may be given away."""
        return self.exclusive or (self.retries > 0 and Cause.WORKER_LOST in self.retry_on)

    def begins_again(self, outcome: Outcome) -> bool:
        """Whether an attempt that ended so is followed by another: never beside what is left of it."""
        if outcome.state is not JobState.FAILED or outcome.attempt > self.retries or outcome.survivors:
            return False
        return outcome.cause in self.retry_on or (
            outcome.cause is Cause.EXIT and outcome.exit_code is not None and outcome.exit_code in self.retry_on
        )

    def as_retry_of(self, job_id: str) -> Self:
        """The same job once more, saying which one it repeats."""
        return replace(self, retry_of=job_id)

    def __repr__(self) -> str:
        # Values of variables and stdin are often secrets, and a repr ends up in logs.
        shown = [
            f"{each.name}={value!r}"
            for each in fields(self)
            if each.repr and (value := getattr(self, each.name)) not in (each.default, {})
        ]
        hidden = [f"env=<{', '.join(sorted(self.env))}>"] if self.env else []
        stdin = [f"stdin=<{len(self.stdin)} bytes>"] if self.stdin is not None else []
        return f"JobSpec({', '.join(shown + hidden + stdin)})"


def _checked_retry_on(_: str, given: object) -> tuple[str | int, ...]:
    if isinstance(given, str) or not isinstance(given, Collection):
        raise InvalidJob("retry_on", f"{given!r} must be a list of causes and exit codes")
    for each in given:
        is_code = isinstance(each, int) and not isinstance(each, bool) and 1 <= each <= 255
        if not is_code and each not in DEFAULT_RETRY_ON:
            known = ", ".join(DEFAULT_RETRY_ON)
            raise InvalidJob("retry_on", f"{each!r} is none of {known}, and no exit code from 1 to 255")
    return tuple(dict.fromkeys(each if isinstance(each, int) else Cause(each) for each in given))


def _checked_priority(_: str, priority: object) -> Priority:
    try:
        return Priority(priority)  # type: ignore[arg-type]  # whatever it is, it is one of these or refused
    except ValueError:
        raise InvalidJob("priority", f"{priority!r} must be one of {', '.join(Priority)}") from None


def _checked_limit(field_name: str, value: object) -> float | None:
    return checked_duration(field_name, value) or None


def _checked_wait(field_name: str, value: object) -> float:
    return checked_duration(field_name, value) or 0.0


def _checked_retries(field_name: str, value: object) -> int:
    return checked_count(field_name, value, most=MAX_RETRIES)


def _checked_retry_of(_: str, value: Any) -> str:
    return checked_id(value)


_CHECK_OF: Final[Mapping[str, Callable[[str, Any], object]]] = {
    "name": checked_name,
    "cwd": checked_cwd,
    "env": checked_env,
    "labels": checked_labels,
    "priority": _checked_priority,
    "stdin": checked_stdin,
    "time_limit": _checked_limit,
    "idle_after": _checked_limit,
    "idle_timeout": _checked_limit,
    "grace": _checked_wait,
    "success_codes": checked_codes,
    "pty": checked_flag,
    "retries": _checked_retries,
    "retry_on": _checked_retry_on,
    "retry_delay": _checked_wait,
    "retry_max_delay": _checked_wait,
    "exclusive": checked_flag,
    "retry_of": _checked_retry_of,
}
_CHECKS: Final = tuple((each.name, each.default, _CHECK_OF[each.name]) for each in fields(JobSpec)[1:])
"""Field, default, and the check that every other value has to pass."""
