"""Options that several verbs share, and how to read their values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Final

import typer

from oneshot_queue.cli.exit_codes import UsageProblem
from oneshot_queue.durations import parse_duration

MAX_WAIT_S: Final = 366 * 86_400.0

Url = Annotated[
    str | None,
    typer.Option("--url", metavar="URL", help="Use this broker instead of ONESHOT_QUEUE_URL", show_default=False),
]
InQueue = Annotated[
    str | None, typer.Option("-q", "--queue", metavar="QUEUE", help="Search this queue first", show_default=False)
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON")]
JobId = Annotated[str, typer.Argument(metavar="ID", help="Job id, a unique prefix of at least 4 characters, or `last`")]
JobIds = Annotated[
    list[str], typer.Argument(metavar="ID", help="Job ids, unique prefixes of at least 4 characters, or `last`")
]


def broker_url(context: typer.Context, after_the_verb: str | None) -> str | None:
    """The value of ``--url``; after the verb wins over before it."""
    before: str | None = context.find_root().params.get("url")
    return before if after_the_verb is None else after_the_verb


def seconds(option: str, written: str | None) -> float | None:
    """Read a duration, in seconds.

    Raises:
        UsageProblem: Not a duration, or longer than ``MAX_WAIT_S``.
    """
    if written is None:
        return None
    try:
        value = parse_duration(written)
    except ValueError as problem:
        raise UsageProblem(f"{option}: {problem}") from None
    if value > MAX_WAIT_S:
        raise UsageProblem(f"{option}: {written} is longer than 366 days")
    return value


def whole_number(option: str, written: str, *, least: int, most: int) -> int:
    """Read a whole number.

    Raises:
        UsageProblem: Not a whole number, or out of bounds.
    """
    if not (written.isascii() and written.isdigit()) or len(written) > 9 or not least <= int(written) <= most:
        raise UsageProblem(f"{option}: {written!r} must be a whole number from {least} to {most}")
    return int(written)


def pairs(option: str, written: Sequence[str]) -> dict[str, str]:
    """Read ``key=value`` words.

    Raises:
        UsageProblem: A word has no ``=``, or no key.
    """
    found: dict[str, str] = {}
    for word in written:
        key, separator, value = word.partition("=")
        if not key or not separator:
            raise UsageProblem(f"{option}: {word!r} must be key=value")
        found[key] = value
    return found
