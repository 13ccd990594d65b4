"""The verbs by name, and what stands before them."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from oneshot_queue._version import __version__
from oneshot_queue.cli.commands import VerbGroup
from oneshot_queue.cli.exit_codes import Exit, UsageProblem
from oneshot_queue.cli.output.terminal import put
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
    """All verbs: to put jobs in, to follow them, to end them; then what runs them."""

    order = ("run", "enqueue", "logs", "wait", "ls", "show", "interrupt", "retry", "worker", "workers", "queues", "up")


class CommandLine:
    """One command line on its way.

    Args:
        path: Receives the verb as soon as it is known; two words for ``broker start``.
    """

    def __init__(self, path: list[str]) -> None:
        self.path = path

    def carry_out(self, words: Sequence[str]) -> int:
        """Parse the words, call the verb, and return its exit code.

        Raises:
            UsageProblem: The words make no sense.
            OneshotQueueError: As the verb raises it.
        """
        root = typer.main.get_command(application())
        try:
            with root.make_context(_program(), list(words), obj=self) as context:
                result = root.invoke(context)
        except typer.Exit as end:
            return end.exit_code
        except typer.Abort:
            return Exit.INTERRUPTED
        except typer.TyperException as refusal:
            raise UsageProblem(f"{refusal.format_message()}\nsee: {' '.join([_program(), *self.path])} -h") from None
        return result if isinstance(result, int) else Exit.DONE


def application() -> typer.Typer:
    """The whole tree of verbs."""
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
        put(f"oneshot-queue {__version__}")
        raise typer.Exit


def _before_the_verb(
    url: Annotated[
        str | None,
        typer.Option("--url", metavar="URL", help="The broker: redis://, rediss:// or unix://.", show_default=False),
    ] = None,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", is_eager=True, callback=_print_version)
    ] = False,
) -> None:
    """Queue commands, run them on any machine, follow and interrupt them from anywhere.

    The broker is a Redis server: --url, else ONESHOT_QUEUE_URL, else one of your own on this machine, started when it
    is first needed.

        oneshot-queue run -- make -j4          run a command through the queue, as if it ran here
        id=$(oneshot-queue enqueue ./build)    only put it there; a worker runs it
        oneshot-queue worker -c 4              be a worker
        oneshot-queue logs -f $id              follow its output
        oneshot-queue interrupt $id            end it, and return when it is gone
    """
    del url, version  # read from the context by the verbs; printed by the callback
