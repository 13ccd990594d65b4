"""The command line: ``oneshot-queue`` and ``osq``.

A verb is quick because it imports late: the modules here import the standard library, typer and errors at the top, and
everything that leads to a Redis client inside the function that needs it. ``--help`` and ``--version`` load neither.

::

    app           the verbs by name, --url before the verb, suggestions for verbs that do not exist
      submitting  enqueue, retry        running   run           waiting  wait       following  logs
      stopping    interrupt             showing   ls, show      fleet    queues, workers
      serving     worker, up            brokering broker status, start, stop              doctor     doctor
    options       what several verbs take        spec_options   what enqueue and run take
    connecting    which broker                   last           what `last` stands for
    forms         what --json prints             tables         what people see
    output        a job's output, to where it belongs
    exits         exit codes                     escape, terminal   what may be written where
    logged        what the library warns of
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import Final, NoReturn

from oneshot_queue.cli.exit_codes import Exit, exit_code_for
from oneshot_queue.cli.output import terminal

FOREGROUND_VERBS: Final = (["run"], ["wait"])
"""Verbs whose exit code is the job's; whatever is not the job's own end is ``Exit.OURS``."""


def program() -> NoReturn:
    """Carry out the command line of this process, and end it with the exit code.

    At once: whatever had to be closed is closed by now, and a thread that still waits for a broker could bring down an
    interpreter that takes itself apart (SIGSEGV, seen with Python 3.11).
    """
    code = main()
    for stream in (sys.stdout, sys.stderr):
        with suppress(AttributeError, ValueError):  # none, or closed
            try:
                stream.flush()
            except OSError:
                code = code or Exit.SOME_FAILED
    os._exit(code)


def main(argv: Sequence[str] | None = None) -> int:
    """Carry out one command line.

    Args:
        argv: The words after the program's name; by default those of this process.

    Returns:
        The exit code.
    """
    terminal.prepare()
    words = list(sys.argv[1:] if argv is None else argv)
    path: list[str] = []
    try:
        from oneshot_queue.cli.app import CommandLine

        return CommandLine(path).carry_out(words or ["--help"])
    except KeyboardInterrupt:
        return Exit.INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has had enough. What is still buffered must not fail again when Python ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return Exit.BROKEN_PIPE
    except Exception as error:
        if sys.flags.dev_mode:
            raise
        while isinstance(error, ExceptionGroup):
            error = error.exceptions[0]
        code = exit_code_for(error)
        if code is Exit.BUG:
            terminal.say(
                f"internal error: {type(error).__name__}: {error}\n"
                "this is a bug; `python -X dev -P -m oneshot_queue …` shows where"
            )
        else:
            terminal.say(str(error))
        return Exit.OURS if path[:1] in FOREGROUND_VERBS else code
