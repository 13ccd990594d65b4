"""What a job was asked to do: ``JobSpec``, and the one declaration of each of its options. Pure.

A ``JobSpec`` that exists is valid: an invalid field raises an error that names it.

Each field is declared once, with ``option(...)``: how it is checked, stored and written on a command line, and how help
describes it. The readers of these declarations are:

========================  =======================================================
``JobSpec`` itself        ``check`` and the default
``wire/specs.py``         ``stored``, and the default, which is not stored
``cli/arguments/job.py``  ``words``, ``help``, ``flag``, ``short``, ``metavar``
``client/options.py``     names and types, which a test compares with JobOptions
========================  =======================================================

To add an option, declare a field, describe it in the docstring of ``JobSpec``, and add it to ``JobOptions``.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields, replace
from enum import StrEnum
from types import NoneType
from typing import TYPE_CHECKING, Any, Final, Literal, Self

from oneshot_queue.checks import (
    checked_codes,
    checked_command,
    checked_cwd,
    checked_env,
    checked_flag,
    checked_labels,
    checked_limit,
    checked_name,
    checked_retries,
    checked_retry_of,
    checked_stdin,
    checked_wait,
    os_bytes,
)
from oneshot_queue.errors import InvalidJob
from oneshot_queue.outcomes import Cause

if TYPE_CHECKING:
    # The command line reads the options for its help, and must not load a state machine for that.
    from oneshot_queue.outcomes import Outcome

DEFAULT_GRACE_S: Final = 10.0


class Priority(StrEnum):
    """Which of a queue's three streams a job waits in; claims empty them in this order."""

    HIGH = "high"
    NORMAL = "normal"
    LOW = "low"


DEFAULT_RETRY_ON: Final = (Cause.EXIT, Cause.SIGNAL, Cause.TIME_LIMIT, Cause.IDLE_TIMEOUT, Cause.WORKER_LOST)
"""The causes that a job can be retried on; all of them, unless its ``retry_on`` says otherwise."""


def _checked_priority(_: str, priority: object) -> Priority:
    try:
        return Priority(priority)  # type: ignore[arg-type]  # anything else raises ValueError
    except ValueError:
        raise InvalidJob("priority", f"{priority!r} must be one of {', '.join(Priority)}") from None


def _checked_retry_on(_: str, given: object) -> tuple[str | int, ...]:
    if isinstance(given, str) or not isinstance(given, Collection):
        raise InvalidJob("retry_on", f"{given!r} must be a list of causes and exit codes")
    for each in given:
        is_code = isinstance(each, int) and not isinstance(each, bool) and 1 <= each <= 255
        if not is_code and each not in DEFAULT_RETRY_ON:
            known = ", ".join(DEFAULT_RETRY_ON)
            raise InvalidJob("retry_on", f"{each!r} must be one of {known}, or an exit code from 1 to 255")
    return tuple(dict.fromkeys(each if isinstance(each, int) else Cause(each) for each in given))


Words = Literal["text", "flag", "number", "duration", "list", "pairs", "variables", "directory", "file"]
"""How a command line writes a value.

``text`` as it is; ``flag`` by its presence; ``number`` as ``3``; ``duration`` as ``1h30m``; ``list`` as ``a,b,3``;
``pairs`` as repeated ``K=V``; ``variables`` as repeated ``K=V`` or ``K``; ``directory`` as a path, resolved here;
``file`` as a path to read, or ``-``.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """How one field of a ``JobSpec`` is checked, stored and written on a command line.

    Attributes:
        check: Takes the field's name and a value; returns the value as the spec holds it, or raises ``InvalidJob``.
        stored: The type of the field as msgpack: a class, a union of classes, ``list[…]`` or ``dict[…, …]``.
        is_encoded: Whether the stored value differs from the field's own; ``wire/specs.py`` converts such fields.
        words: How a command line writes it; ``None`` if it has no such option.
        help: What the option does: imperative, without a final period or the default.
        flag: Its long name; empty for the field's own, with hyphens.
        short: Its letter, such as ``-n``; empty if it has none.
        metavar: The placeholder for its value in help texts.
        default_text: The default as help shows it; empty to derive it from the field's default.
    """

    check: Callable[[str, Any], object]
    stored: Any
    is_encoded: bool = False
    words: Words | None = None
    help: str = ""
    flag: str = ""
    short: str = ""
    metavar: str = ""
    default_text: str = ""


def option(default: object, check: Callable[[str, Any], object], *, secret: bool = False, **declared: Any) -> Any:
    """Declare a field of ``JobSpec``.

    Args:
        default: The value of a spec that does not name the field. A mapping is copied for each spec.
        check: See ``Option``, whose other attributes are the remaining arguments.
        secret: Whether ``repr`` hides the value.
    """
    metadata = {"option": Option(check=check, **declared)}
    if isinstance(default, dict):
        return field(default_factory=default.copy, repr=not secret, metadata=metadata)
    return field(default=default, repr=not secret, metadata=metadata)


@dataclass(frozen=True, slots=True)
class JobSpec:
    """One command and how to run it: everything that a worker needs to know, and nothing that happened since.

    Args:
        command: The argv. It is not passed to a shell. Text is stored as UTF-8; pass bytes for anything else.
        name: A display name, by ``NAME_PATTERN``.
        cwd: Absolute working directory on the worker; ``None`` is the worker's own.
        env: Variables to set, on top of those that the worker passes on. ``ONESHOT_…`` is reserved.
        labels: ``key: text`` pairs to filter by; keys by ``NAME_PATTERN``, values up to 256 printable characters.
        priority: ``high``, ``normal`` or ``low``.
        stdin: Standard input of the command, up to 1 MiB; ``None`` is ``/dev/null``.
        time_limit: Seconds the command may run; 0 and ``None`` mean no limit.
        idle_after: Seconds without output after which the job is IDLE; 0 and ``None`` mean never.
        idle_timeout: Seconds without output after which the job is terminated; 0 and ``None`` mean never.
        grace: Seconds between SIGTERM and SIGKILL; 0 kills at once.
        success_codes: Exit codes, 0 to 255, that count as COMPLETED.
        pty: Whether to run the command in a pseudo-terminal. Both streams then arrive as ``stdout``. Programs that
            buffer their output when piped, and so look silent, write line by line to a terminal.
        retries: How many times the command may be run again, up to 1,000. With 0, a job that has started is never
            started again.
        retry_on: What to retry after: ``exit``, ``signal``, ``worker_lost``, ``time_limit`` and ``idle_timeout``, and
            exit codes, 1 to 255, which matter only without ``exit``.
        retry_delay: Seconds before the first retry, doubled for each further one.
        retry_max_delay: Upper limit of this delay in seconds.
        exclusive: Whether to terminate the job when its worker loses the broker, before the worker's lease expires. So
            two attempts never overlap, and Redis never reports a job ended while it still runs. A job that is
            retried on ``worker_lost`` is always exclusive.
        retry_of: The id of the job that this one repeats.

    Raises:
        InvalidJob: A field is invalid; the message names it.
    """

    command: Sequence[str | bytes] = field(
        # Not option(): type checkers must see that it has no default.
        metadata={"option": Option(check=checked_command, stored=list[bytes], is_encoded=True)}
    )
    name: str | None = option(
        None, checked_name, stored=str, words="text", short="-n", metavar="NAME", help="Set a display name"
    )
    cwd: str | None = option(
        None,
        checked_cwd,
        stored=bytes,
        is_encoded=True,
        words="directory",
        short="-C",
        metavar="DIR",
        help="Run in this directory on the worker",
        default_text="current directory",
    )
    env: Mapping[str, str] = option(
        {},
        checked_env,
        secret=True,
        stored=dict[bytes, bytes],
        is_encoded=True,
        words="variables",
        short="-e",
        metavar="K[=V]",
        help="Set an environment variable; K alone copies its value from here; repeatable",
    )
    labels: Mapping[str, str] = option(
        {},
        checked_labels,
        stored=dict[str, str],
        words="pairs",
        flag="--label",
        short="-l",
        metavar="K=V",
        help="Add a label to filter by; repeatable",
    )
    priority: str = option(
        Priority.NORMAL,
        _checked_priority,
        stored=str,
        words="text",
        short="-p",
        metavar="LEVEL",
        help="Set the priority: high, normal or low",
    )
    stdin: bytes | None = option(
        None,
        checked_stdin,
        secret=True,
        stored=bool,  # whether there is any; the bytes have a key of their own
        is_encoded=True,
        words="file",
        metavar="FILE|-",
        help="Pass a file as standard input, up to 1 MiB; - reads the standard input of this command",
    )
    time_limit: float | None = option(
        None,
        checked_limit,
        stored=int | float | NoneType,
        words="duration",
        metavar="TIME",
        help="Terminate the job after this long: 90s, 5m, 1h30m",
    )
    idle_after: float | None = option(
        60.0,
        checked_limit,
        stored=int | float | NoneType,
        words="duration",
        metavar="TIME",
        help="Mark the job IDLE after this long without output; 0 disables",
    )
    idle_timeout: float | None = option(
        None,
        checked_limit,
        stored=int | float | NoneType,
        words="duration",
        metavar="TIME",
        help="Terminate the job after this long without output",
    )
    grace: float = option(
        DEFAULT_GRACE_S,
        checked_wait,
        stored=int | float | NoneType,
        words="duration",
        metavar="TIME",
        help="Wait this long between SIGTERM and SIGKILL when the job is terminated",
    )
    success_codes: Collection[int] = option(
        (0,),
        checked_codes,
        stored=list[int],
        words="list",
        metavar="CODE,…",
        help="Treat these exit codes as success",
    )
    pty: bool = option(
        False, checked_flag, stored=bool, words="flag", help="Run in a pseudo-terminal; merges stderr into stdout"
    )
    retries: int = option(
        0, checked_retries, stored=int, words="number", metavar="N", help="Run the job again at most N times"
    )
    retry_on: Collection[str | int] = option(
        DEFAULT_RETRY_ON,
        _checked_retry_on,
        stored=list[str | int],
        words="list",
        metavar="CAUSE,…",
        help=f"Retry only after these: {', '.join(DEFAULT_RETRY_ON)}, or exit codes",
        default_text="all causes",
    )
    retry_delay: float = option(
        1.0,
        checked_wait,
        stored=int | float,
        words="duration",
        metavar="TIME",
        help="Wait this long before the first retry; doubles with each further retry",
    )
    retry_max_delay: float = option(
        300.0,
        checked_wait,
        stored=int | float,
        words="duration",
        metavar="TIME",
        help="Never wait longer than this before a retry",
    )
    exclusive: bool = option(
        False,
        checked_flag,
        stored=bool,
        words="flag",
        help="Terminate the job if its worker loses the broker, before another attempt can start",
    )
    retry_of: str | None = option(None, checked_retry_of, stored=str)

    def __post_init__(self) -> None:
        # A frozen dataclass can only be normalised through object.__setattr__.
        put = object.__setattr__
        for name, default, check in _CHECKS:
            value = getattr(self, name)
            # Most fields of most jobs have their defaults, which are valid.
            if value is not default:
                put(self, name, check(name, value))

    @property
    def argv(self) -> tuple[bytes, ...]:
        """The command as the kernel gets it."""
        return tuple(os_bytes(word) for word in self.command)

    @property
    def is_exclusive(self) -> bool:
        """Whether the job is terminated before its worker's lease can expire."""
        return self.exclusive or (self.retries > 0 and Cause.WORKER_LOST in self.retry_on)

    def begins_again(self, outcome: Outcome) -> bool:
        """Whether another attempt follows one with this outcome; never while processes of the last one survive."""
        # Compared as text: JobState's module loads a state machine, and the command line loads this one for its help.
        if outcome.state != "FAILED" or outcome.attempt > self.retries or outcome.survivors:
            return False
        return outcome.cause in self.retry_on or (
            outcome.cause is Cause.EXIT and outcome.exit_code is not None and outcome.exit_code in self.retry_on
        )

    def as_retry_of(self, job_id: str) -> Self:
        """The same job again, with the id of the one that it repeats."""
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


OPTIONS: Final[Mapping[str, Option]] = {each.name: each.metadata["option"] for each in fields(JobSpec)}
"""The declaration of each field, in the order of the fields."""


def default_of(name: str) -> Any:
    """The default of a field; ``dataclasses.MISSING`` for ``command``."""
    return _DEFAULTS[name]


_DEFAULTS: Final = {
    each.name: each.default if each.default_factory is MISSING else each.default_factory() for each in fields(JobSpec)
}
_CHECKS: Final = tuple((each.name, each.default, OPTIONS[each.name].check) for each in fields(JobSpec))
"""Field, default, and the check that every other value has to pass."""
