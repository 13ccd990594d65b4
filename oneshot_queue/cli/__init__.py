"""The command line: ``oneshot-queue`` and ``osq``.

Verbs start fast because they import late. At the top, modules import the standard library, typer and the errors. What
leads to a Redis client is imported inside the function that needs it, so ``--help`` and ``--version`` never load one.

::

    app               the tree of verbs, and the options before the verb
    commands          typer commands and groups: unconverted values, suggestions for unknown verbs
    verbs/            one module per verb
    arguments/        from words to values: options, job requests, destinations, `last`
    output/           from values to text: JSON, tables, job output, messages
    exit_codes        exit codes of the verbs, of errors and of jobs
    acknowledgement   what enqueue and retry print      waiting_notices    why a job is not making progress
    ctrl_c            signals during run                on_demand_worker   a worker for one job of run
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import Final, NoReturn

from oneshot_queue.cli.exit_codes import ExitCode, exit_code_for
from oneshot_queue.cli.output import terminal

FOREGROUND_VERBS: Final = (["run"], ["wait"])
"""Verbs whose exit code is the job's; every error of oneshot-queue itself is ``ExitCode.OWN_ERROR``."""


def program() -> NoReturn:
    """Run the command line of this process, and exit with its exit code.

    Skips the interpreter's shutdown: everything is closed by now, and a thread that still waits for a broker could
    crash the interpreter while it shuts down (SIGSEGV, seen with Python 3.11).
    """
    code = main()
    for stream in (sys.stdout, sys.stderr):
        with suppress(AttributeError, ValueError):  # none, or closed
            try:
                stream.flush()
            except OSError:
                code = code or ExitCode.SOME_FAILED
    os._exit(code)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line.

    Args:
        argv: The words after the program's name; defaults to those of this process.

    Returns:
        The exit code.
    """
    terminal.prepare_streams()
    words = list(sys.argv[1:] if argv is None else argv)
    path: list[str] = []
    try:
        from oneshot_queue.cli.app import CommandLine

        return CommandLine(path).run(words or ["--help"])
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED
    except BrokenPipeError:
        # The reader of our output has closed it. Flushing the rest at exit must not fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return ExitCode.BROKEN_PIPE
    except Exception as error:
        if sys.flags.dev_mode:
            raise
        while isinstance(error, ExceptionGroup):
            error = error.exceptions[0]
        code = exit_code_for(error)
        if code is ExitCode.BUG:
            terminal.print_message(
                f"internal error: {type(error).__name__}: {error}\n"
                "this is a bug; `python -X dev -P -m oneshot_queue …` shows a traceback"
            )
        else:
            terminal.print_message(str(error))
        return ExitCode.OWN_ERROR if path[:1] in FOREGROUND_VERBS else code
