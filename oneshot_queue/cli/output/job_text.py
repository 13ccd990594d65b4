"""How ``ls``, ``show`` and ``interrupt`` print a job's command and state."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Final

from oneshot_queue.cli.output.escape import escaped

if TYPE_CHECKING:
    from oneshot_queue.jobs import JobRecord


NO_VALUE: Final = "-"
UNCONFIRMED: Final = "not confirmed: its worker vanished, so its processes may still run"
STATE_COLOURS: Final = {
    "CREATED": "blue",
    "RUNNING": "cyan",
    "IDLE": "yellow",
    "INTERRUPTED": "yellow",
    "COMPLETED": "green",
    "FAILED": "red",
}


def command_text(record: JobRecord) -> str:
    """A job's command, quoted for a shell and escaped for a terminal."""
    from oneshot_queue.jobs import text_of

    if record.spec is None:
        return "(unreadable)"
    # Escape before quoting: the quotes must suit the text that is shown.
    return " ".join(shlex.quote(escaped(text_of(word))) for word in record.spec.command)
