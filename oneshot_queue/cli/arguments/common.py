"""Options that several verbs take, and how their words are read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Final

import typer

from oneshot_queue.cli.exit_codes import UsageProblem
from oneshot_queue.durations import parse_duration

MAX_WAIT_S: Final = 366 * 86_400.0

Url = Annotated[
    str | None,
    typer.Option("--url", metavar="URL", help="The broker, instead of ONESHOT_QUEUE_URL.", show_default=False),
]
InQueue = Annotated[
    str | None, typer.Option("-q", "--queue", metavar="QUEUE", help="Look in this queue first.", show_default=False)
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
JobId = Annotated[str, typer.Argument(metavar="ID", help="An id, 4 or more of its first characters, or `last`.")]
JobIds = Annotated[list[str], typer.Argument(metavar="ID", help="Ids, 4 or more of their first characters, or `last`.")]


def broker_url(context: typer.Context, after_the_verb: str | None) -> str | None:
    """What ``--url`` said, before or after the verb."""
    before: str | None = context.find_root().params.get("url")
    return before if after_the_verb is None else after_the_verb


def seconds(option: str, written: str | None) -> float | None:
    """Read a duration.

    Raises:
        UsageProblem: It is none.
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
    """Read a number.

    Raises:
        UsageProblem: It is none, or out of bounds.
    """
    if not (written.isascii() and written.isdigit()) or len(written) > 9 or not least <= int(written) <= most:
        raise UsageProblem(f"{option}: {written!r} must be a whole number from {least} to {most}")
    return int(written)


def pairs(option: str, written: Sequence[str]) -> dict[str, str]:
    """Read ``key=value`` words.

    Raises:
        UsageProblem: One has no ``=``.
    """
    found: dict[str, str] = {}
    for word in written:
        key, separator, value = word.partition("=")
        if not key or not separator:
            raise UsageProblem(f"{option}: {word!r} must be key=value")
        found[key] = value
    return found
