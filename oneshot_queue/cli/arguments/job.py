"""The options of a job, which ``enqueue`` and ``run`` share, and how they become a ``JobSpec``."""

from __future__ import annotations

import functools
import inspect
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from oneshot_queue.cli.arguments.common import Url, broker_url, pairs, seconds, whole_number
from oneshot_queue.cli.arguments.destination import DEFAULT_QUEUE
from oneshot_queue.cli.exit_codes import UsageProblem

if TYPE_CHECKING:
    from oneshot_queue.spec import JobSpec

SHELL: Final = b"/bin/sh"


@dataclass(frozen=True, slots=True)
class JobRequest:
    """What is to be enqueued, and where.

    Attributes:
        url: What ``--url`` said.
        id: What ``--id`` said.
    """

    spec: JobSpec
    url: str | None
    queue: str
    id: str | None


def takes_a_job(verb: Callable[..., int]) -> Callable[..., int]:
    """Give a verb the options of a job; it gets them as its first argument.

    Typer reads options from signatures, and this joins two: otherwise each option would be written down four times.
    """
    shared = inspect.signature(_job_request, eval_str=True).parameters
    own = list(inspect.signature(verb, eval_str=True).parameters.values())[1:]

    @functools.wraps(verb)
    def called(**given: Any) -> int:
        request = _job_request(**{name: given.pop(name) for name in shared})
        return verb(request, **given)

    del called.__wrapped__  # inspect must find the joined signature, not the verb's own
    called.__signature__ = inspect.Signature([*shared.values(), *own])  # type: ignore[attr-defined]
    called.__annotations__ = {}
    return called


def _job_request(
    context: typer.Context,
    argv: Annotated[list[str], typer.Argument(metavar="ARGV", help="The command; its own options are not ours.")],
    queue: Annotated[str, typer.Option("-q", "--queue", metavar="QUEUE", help="The queue.")] = DEFAULT_QUEUE,
    name: Annotated[str | None, typer.Option("-n", "--name", metavar="NAME", help="A name for people.")] = None,
    label: Annotated[
        list[str] | None, typer.Option("-l", "--label", metavar="K=V", help="To find it by; several times.")
    ] = None,
    priority: Annotated[str, typer.Option("-p", "--priority", metavar="WHICH", help="high, normal or low.")] = "normal",
    cwd: Annotated[
        str | None, typer.Option("-C", "--cwd", metavar="DIR", help="Where it runs, on the worker.  [default: here]")
    ] = None,
    env: Annotated[
        list[str] | None,
        typer.Option("-e", "--env", metavar="K[=V]", help="A variable; K alone copies yours; several times."),
    ] = None,
    stdin: Annotated[
        str | None, typer.Option("--stdin", metavar="FILE|-", help="What it reads, up to 1 MiB; - is our own stdin.")
    ] = None,
    pty: Annotated[
        bool, typer.Option("--pty", help="It writes to a terminal, not to pipes: both streams become stdout.")
    ] = False,
    shell: Annotated[bool, typer.Option("--shell", help="ARGV is one string for /bin/sh -c.")] = False,
    time_limit: Annotated[
        str | None, typer.Option("--time-limit", metavar="TIME", help="End it after this long: 90s, 5m, 1h30m.")
    ] = None,
    idle_after: Annotated[
        str, typer.Option("--idle-after", metavar="TIME", help="Call it IDLE after this much silence; 0 is never.")
    ] = "60s",
    idle_timeout: Annotated[
        str | None, typer.Option("--idle-timeout", metavar="TIME", help="End it after this much silence.")
    ] = None,
    grace: Annotated[
        str, typer.Option("--grace", metavar="TIME", help="From SIGTERM to SIGKILL when it is ended.")
    ] = "10s",
    success_codes: Annotated[
        str, typer.Option("--success-codes", metavar="N,N", help="Exit codes that mean success.")
    ] = "0",
    retries: Annotated[
        str, typer.Option("--retries", metavar="N", help="Run it again, so often at most; by default never.")
    ] = "0",
    retry_on: Annotated[
        str | None,
        typer.Option(
            "--retry-on",
            metavar="WHY,WHY",
            help="exit, signal, worker_lost, time_limit, idle_timeout, or exit codes.  [default: all of these]",
        ),
    ] = None,
    retry_delay: Annotated[
        str, typer.Option("--retry-delay", metavar="TIME", help="Before the first retry; doubled for each further one.")
    ] = "1s",
    retry_max_delay: Annotated[
        str, typer.Option("--retry-max-delay", metavar="TIME", help="The longest such wait.")
    ] = "5m",
    exclusive: Annotated[
        bool,
        typer.Option("--exclusive", help="End it before another could be started when its worker loses touch."),
    ] = False,
    job_id: Annotated[
        str | None, typer.Option("--id", metavar="ID", help="Its id: enqueued twice in one queue, it is still one job.")
    ] = None,
    url: Url = None,
) -> JobRequest:
    from oneshot_queue.checks import checked_id
    from oneshot_queue.client.options import checked_queue
    from oneshot_queue.spec import DEFAULT_RETRY_ON, MAX_RETRIES, JobSpec

    if shell and len(argv) != 1:
        raise UsageProblem(f"--shell takes exactly one string, and there are {len(argv)}; quote the whole of it")
    most = whole_number("--retries", retries, least=0, most=MAX_RETRIES)
    if retry_on is not None and not most:
        raise UsageProblem("--retry-on says when to run it again, and --retries how often: never; give --retries N")
    words = [os.fsencode(word) for word in argv]
    spec = JobSpec(
        [SHELL, b"-c", *words] if shell else words,
        name=name,
        cwd=_folder(cwd),
        env=_variables(env or []),
        labels=pairs("--label", label or []),
        priority=priority,
        stdin=None if stdin is None else _input(stdin),
        time_limit=seconds("--time-limit", time_limit),
        idle_after=seconds("--idle-after", idle_after),
        idle_timeout=seconds("--idle-timeout", idle_timeout),
        grace=seconds("--grace", grace) or 0.0,
        success_codes=[whole_number("--success-codes", each, least=0, most=255) for each in success_codes.split(",")],
        pty=pty,
        retries=most,
        retry_on=DEFAULT_RETRY_ON if retry_on is None else [_reason(each) for each in retry_on.split(",")],
        retry_delay=seconds("--retry-delay", retry_delay) or 0.0,
        retry_max_delay=seconds("--retry-max-delay", retry_max_delay) or 0.0,
        exclusive=exclusive,
    )
    return JobRequest(
        spec,
        url=broker_url(context, url),
        queue=checked_queue(queue),
        id=None if job_id is None else checked_id(job_id),
    )


def _reason(written: str) -> str | int:
    """A cause by its name, or an exit code."""
    return int(written) if written.isascii() and written.isdigit() and len(written) <= 3 else written


def _text(given: str) -> str:
    # The locale decides how our arguments were decoded; a spec's texts stand for bytes by UTF-8, always.
    return os.fsencode(given).decode("utf-8", "surrogateescape")


def _folder(given: str | None) -> str:
    if given is not None and os.path.isabs(given):
        return _text(given)
    try:
        # Not abspath(): behind a link, `..` is not what the text says.
        return _text(os.getcwd() if given is None else os.path.join(os.getcwd(), given))
    except OSError as problem:
        raise UsageProblem(f"the current directory cannot be read ({problem.strerror}); give one with -C") from None


def _variables(given: list[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for word in given:
        name, separator, value = word.partition("=")
        if not separator:
            if name not in os.environ:
                raise UsageProblem(f"--env: {name} is not set here; write {name}=VALUE")
            value = os.environ[name]
        found[_text(name)] = _text(value)
    return found


def _input(source: str) -> bytes:
    from oneshot_queue.checks import MAX_STDIN_BYTES

    try:
        # One byte more than allowed is enough to know; a pipe may go on for ever.
        if source == "-":
            return sys.stdin.buffer.read(MAX_STDIN_BYTES + 1)
        with open(source, "rb") as file:
            return file.read(MAX_STDIN_BYTES + 1)
    except OSError as problem:
        raise UsageProblem(f"--stdin: {source}: {problem.strerror}") from None


WORDS_OF_A_COMMAND: Final = {"allow_interspersed_args": False}
"""Our options end at the first word of the command."""
