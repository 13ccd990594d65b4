"""The environment of a job's process: an allow-list of the worker's variables, the job's own, and three of ours."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

ALLOWED_NAMES: Final = frozenset(
    {
        "PATH",
        "HOME",
        "USER",
        "LOGNAME",
        "SHELL",
        "LANG",
        "LANGUAGE",
        "TZ",
        "TERM",
        "TMPDIR",
        "XDG_RUNTIME_DIR",
        "LD_LIBRARY_PATH",
        "SSL_CERT_FILE",
        "SSL_CERT_DIR",
    }
)
"""Paths, language and terminal settings. An allow-list, because no deny-list can name every secret."""

ALLOWED_PREFIXES: Final = ("LC_",)

JOB_ID_VARIABLE: Final = "ONESHOT_JOB_ID"
ATTEMPT_VARIABLE: Final = "ONESHOT_ATTEMPT"
TOKEN_VARIABLE: Final = "ONESHOT_TOKEN"  # noqa: S105 - a name, not a secret
"""Also the cookie that identifies a process of the attempt after it has left the process group."""


def allowed_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the part of a worker's environment that its jobs may see: no broker URL, no key, no credential."""
    return {
        name: value for name, value in environ.items() if name in ALLOWED_NAMES or name.startswith(ALLOWED_PREFIXES)
    }


def job_environment(
    base: Mapping[str, str], own: Mapping[str, str], *, job_id: str, attempt: int, token: str
) -> dict[str, str]:
    """Merge the worker's variables, the job's own, and the three that identify the attempt; later ones win.

    ``PYTHONUNBUFFERED`` is set because Python programs buffer on a pipe, and so look silent. A job may override it.

    Args:
        base: Variables of the worker, or of the calling process.
        own: Variables of the job.
    """
    return {
        **base,
        "PYTHONUNBUFFERED": "1",
        **own,
        JOB_ID_VARIABLE: job_id,
        ATTEMPT_VARIABLE: str(attempt),
        TOKEN_VARIABLE: token,
    }
