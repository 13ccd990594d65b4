"""The tree of verbs, the options before the verb, and the run of one command line."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from oneshot_queue._version import __version__
from oneshot_queue.cli.commands import VerbGroup
from oneshot_queue.cli.exit_codes import ExitCode, UsageProblem
from oneshot_queue.cli.output.terminal import print_line
from oneshot_queue.cli.verbs import (
    bench,
    broker,
    doctor,
    enqueue,
    interrupt,
    logs,
    ls,
    queues,
    retry,
    run,
    show,
    up,
    wait,
    worker,
    workers,
)


class Verbs(VerbGroup):
    """All verbs, in the order of the help: first for jobs, then for workers and queues."""

    order = ("run", "enqueue", "logs", "wait", "ls", "show", "interrupt", "retry", "worker", "workers", "queues", "up")


class CommandLine:
    """One command line while it runs.

    Args:
        path: Receives the verb once it is known: two words for ``broker start``.
    """

    def __init__(self, path: list[str]) -> None:
        self.path = path

    def run(self, words: Sequence[str]) -> int:
        """Parse the words, call the verb, and return its exit code.

        Raises:
            UsageProblem: The words are not a valid command line.
            OneshotQueueError: Raised by the verb.
        """
        root = typer.main.get_command(application())
        try:
            with root.make_context(_program(), list(words), obj=self) as context:
                result = root.invoke(context)
        except typer.Exit as end:
            return end.exit_code
        except typer.Abort:
            return ExitCode.INTERRUPTED
        except typer.TyperException as refusal:
            raise UsageProblem(f"{refusal.format_message()}\nsee: {' '.join([_program(), *self.path])} -h") from None
        return result if isinstance(result, int) else ExitCode.SUCCESS


def application() -> typer.Typer:
    """The tree of all verbs."""
    app = typer.Typer(
        cls=Verbs,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        subcommand_metavar="VERB …",
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    )
    app.callback()(_before_the_verb)
    for verb in (
        enqueue,
        run,
        logs,
        ls,
        show,
        wait,
        interrupt,
        retry,
        queues,
        workers,
        worker,
        up,
        broker,
        doctor,
        bench,
    ):
        verb.add_to(app)
    return app


def _program() -> str:
    name = os.path.basename(sys.argv[0])
    return name if name in ("oneshot-queue", "osq") else "oneshot-queue"


def _print_version(wanted: bool) -> None:
    if wanted:
        print_line(f"oneshot-queue {__version__}")
        raise typer.Exit


def _before_the_verb(
    url: Annotated[
        str | None,
        typer.Option(
            "--url",
            metavar="URL",
            help="Use this broker: redis://, rediss://, unix://, redis+sentinel:// or redis+cluster://",
            show_default=False,
        ),
    ] = None,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit", is_eager=True, callback=_print_version)
    ] = False,
) -> None:
    """Queue commands, run them on any machine, and follow and interrupt them from anywhere.

    The broker is a Redis server. Name it with --url or ONESHOT_QUEUE_URL. Without either, a local broker of your own
    starts on demand.

        oneshot-queue run -- make -j4          run a command through the queue as if it ran here
        id=$(oneshot-queue enqueue ./build)    enqueue a command; a worker runs it
        oneshot-queue worker -c 4              run jobs, up to four at a time
        oneshot-queue logs -f $id              follow a job's output
        oneshot-queue interrupt $id            end a job, and return when it is gone
    """
    del url, version  # The verbs read the URL from the context; the callback prints the version.
