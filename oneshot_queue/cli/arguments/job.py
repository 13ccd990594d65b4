"""The options of a job, which ``enqueue`` and ``run`` share, and how they become a ``JobSpec``.

Most of them are declared by the fields of ``JobSpec``; an option that is not given keeps its field's default.
"""

from __future__ import annotations

import functools
import inspect
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from inspect import Parameter
from typing import Annotated, Any, Final

import typer

from oneshot_queue.checks import MAX_STDIN_BYTES, checked_id
from oneshot_queue.cli.arguments.common import Url, broker_url, pairs, seconds
from oneshot_queue.cli.arguments.destination import DEFAULT_QUEUE
from oneshot_queue.cli.exit_codes import UsageProblem
from oneshot_queue.durations import format_duration
from oneshot_queue.errors import InvalidJob
from oneshot_queue.spec import OPTIONS, JobSpec, Option, default_of

SHELL: Final = b"/bin/sh"
OPTIONS_END_AT_COMMAND: Final = {"allow_interspersed_args": False}
"""The context settings of a verb whose options end at the first word of the command."""
_GIVEN: Final = {name: option for name, option in OPTIONS.items() if option.words}
"""The fields that have an option on the command line."""


@dataclass(frozen=True, slots=True)
class JobRequest:
    """The job to enqueue, and where.

    Attributes:
        url: The value of ``--url``, if given.
        id: The value of ``--id``, if given.
    """

    spec: JobSpec
    url: str | None
    queue: str
    id: str | None


def takes_a_job(verb: Callable[..., int]) -> Callable[..., int]:
    """Give a verb the options of a job; it receives a ``JobRequest`` as its first argument.

    Typer reads options from signatures. The result's joins the options of ``JobSpec``, of ``_job_request``, and of the
    verb.
    """
    context, argv, queue, *others, _ = inspect.signature(_job_request, eval_str=True).parameters.values()
    shared = [context, argv, queue, *(_parameter(name, option) for name, option in _GIVEN.items()), *others]
    own = list(inspect.signature(verb, eval_str=True).parameters.values())[1:]

    @functools.wraps(verb)
    def called(**given: Any) -> int:
        request = _job_request(**{each.name: given.pop(each.name) for each in shared})
        return verb(request, **given)

    del called.__wrapped__  # inspect must find the joined signature, not the verb's own
    called.__signature__ = inspect.Signature([*shared, *own])  # type: ignore[attr-defined]
    called.__annotations__ = {}
    return called


def _job_request(
    context: typer.Context,
    argv: Annotated[
        list[str], typer.Argument(metavar="ARGV", help="Command and arguments; later options go to the command")
    ],
    queue: Annotated[str, typer.Option("-q", "--queue", metavar="QUEUE", help="Put the job into this queue")] = (
        DEFAULT_QUEUE
    ),
    shell: Annotated[bool, typer.Option("--shell", help="Run ARGV, which must be one string, with /bin/sh -c")] = False,
    job_id: Annotated[
        str | None,
        typer.Option("--id", metavar="ID", help="Set the job's id; enqueueing it again creates no second job"),
    ] = None,
    url: Url = None,
    **options: Any,
) -> JobRequest:
    from oneshot_queue.client.options import checked_queue

    if shell and len(argv) != 1:
        raise UsageProblem(f"--shell needs exactly one string, got {len(argv)}; quote the whole command")
    fields = {name: _value(name, words) for name, words in options.items() if words is not None}
    # Jobs of the library run in the worker's directory by default; jobs of the command line in the current one.
    fields["cwd"] = _directory(options["cwd"])
    if "retry_on" in fields and not fields.get("retries"):
        raise UsageProblem("--retry-on has no effect without --retries; add --retries N")
    words = [os.fsencode(word) for word in argv]
    try:
        spec = JobSpec([SHELL, b"-c", *words] if shell else words, **fields)
    except InvalidJob as refused:
        what = _flag(refused.field) if refused.field in _GIVEN else refused.field
        raise UsageProblem(f"{what}: {refused.problem}") from None
    return JobRequest(
        spec,
        url=broker_url(context, url),
        queue=checked_queue(queue),
        id=None if job_id is None else checked_id(job_id),
    )


def _flag(name: str) -> str:
    return OPTIONS[name].flag or f"--{name.replace('_', '-')}"


def _parameter(name: str, option: Option) -> Parameter:
    kind: Any = str | None
    match option.words:
        case "flag":
            kind = bool | None
        case "pairs" | "variables":
            kind = list[str] | None
    shown = _default_text(name, option)
    declared = typer.Option(
        *([option.short] if option.short else []),
        _flag(name),
        metavar=option.metavar or None,
        help=option.help + (f"  [default: {shown}]" if shown else ""),
        show_default=False,
    )
    return Parameter(name, Parameter.POSITIONAL_OR_KEYWORD, default=None, annotation=Annotated[kind, declared])


def _default_text(name: str, option: Option) -> str:
    default = default_of(name)
    match option.words:
        case "duration" if default:
            return option.default_text or format_duration(default)
        case "list":
            return option.default_text or ",".join(map(str, default))
        case "text" | "number" if default is not None:
            return option.default_text or str(default)
        case _:
            return option.default_text


def _value(name: str, words: Any) -> Any:
    """Convert the words of an option. Words that cannot be converted stay text, and the field's check refuses them."""
    match OPTIONS[name].words:
        case "duration":
            return seconds(_flag(name), words)
        case "number":
            return _number_or_text(words)
        case "list":
            return [_number_or_text(each) for each in words.split(",")]
        case "pairs":
            return pairs(_flag(name), words)
        case "variables":
            return _variables(words)
        case "directory":
            return _directory(words)
        case "file":
            return _input(words)
        case _:
            return words


def _number_or_text(word: str) -> int | str:
    return int(word) if word.isascii() and word.isdigit() and len(word) <= 9 else word


def _text(given: str) -> str:
    # Python decoded our arguments by the locale; the texts of a spec are always decoded as UTF-8.
    return os.fsencode(given).decode("utf-8", "surrogateescape")


def _directory(given: str | None) -> str:
    if given is not None and os.path.isabs(given):
        return _text(given)
    try:
        # Not abspath(): it would resolve `..` by the text, which is wrong behind a symbolic link.
        return _text(os.getcwd() if given is None else os.path.join(os.getcwd(), given))
    except OSError as problem:
        raise UsageProblem(f"cannot read the current directory ({problem.strerror}); give one with -C") from None


def _variables(given: list[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for word in given:
        name, separator, value = word.partition("=")
        if not separator:
            if name not in os.environ:
                raise UsageProblem(f"--env: {name} is not set in this environment; write {name}=VALUE")
            value = os.environ[name]
        found[_text(name)] = _text(value)
    return found


def _input(source: str) -> bytes:
    try:
        # One byte above the limit is enough to refuse it; a pipe may never end.
        if source == "-":
            return sys.stdin.buffer.read(MAX_STDIN_BYTES + 1)
        with open(source, "rb") as file:
            return file.read(MAX_STDIN_BYTES + 1)
    except OSError as problem:
        raise UsageProblem(f"--stdin: {source}: {problem.strerror}") from None
