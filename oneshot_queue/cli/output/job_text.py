"""``ls`` and ``show``: what is known of jobs."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Final

from oneshot_queue.cli.output.escape import escaped

if TYPE_CHECKING:
    from oneshot_queue.jobs import JobRecord


NONE: Final = "-"
STATE_COLOURS: Final = {
    "CREATED": "blue",
    "RUNNING": "cyan",
    "IDLE": "yellow",
    "INTERRUPTED": "yellow",
    "COMPLETED": "green",
    "FAILED": "red",
}


def _command(record: JobRecord) -> str:
    from oneshot_queue.jobs import text_of

    if record.spec is None:
        return "(unreadable)"
    # Escaped before it is quoted: a quote sign must not vanish behind what is shown instead of a control character.
    return " ".join(shlex.quote(escaped(text_of(word))) for word in record.spec.command)
