"""Which environment a job's process gets: little of the worker's own, all of the job's, and three marks of ours."""

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
"""Where things are and how to speak to people. A list of what passes, because nobody can list every secret."""

ALLOWED_PREFIXES: Final = ("LC_",)

JOB_ID_VARIABLE: Final = "ONESHOT_JOB_ID"
ATTEMPT_VARIABLE: Final = "ONESHOT_ATTEMPT"
TOKEN_VARIABLE: Final = "ONESHOT_TOKEN"  # noqa: S105 - a name, not a secret
"""Also the cookie by which a process that left its job's group is still known as that job's."""


def allowed_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Keep of a worker's own environment what its jobs may see: never a broker's URL, a key or a credential."""
    return {
        name: value for name, value in environ.items() if name in ALLOWED_NAMES or name.startswith(ALLOWED_PREFIXES)
    }


def job_environment(
    base: Mapping[str, str], own: Mapping[str, str], *, job_id: str, attempt: int, token: str
) -> dict[str, str]:
    """Lay a job's own variables over those of its worker, and the marks of the attempt over both.

    Programs written in Python would hold their output back on a pipe and look silent, hence ``PYTHONUNBUFFERED``; a job
    may set it otherwise.
    """
    return {
        **base,
        "PYTHONUNBUFFERED": "1",
        **own,
        JOB_ID_VARIABLE: job_id,
        ATTEMPT_VARIABLE: str(attempt),
        TOKEN_VARIABLE: token,
    }
