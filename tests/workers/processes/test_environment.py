"""A job's process sees the allowed part of its worker's environment, and no secret."""

from __future__ import annotations

import pytest

from oneshot_queue.workers.processes.environment import allowed_environment, job_environment

SECRETS = [
    "ONESHOT_QUEUE_URL", "ONESHOT_TOKEN", "REDIS_URL", "REDIS_PASSWORD", "AWS_SECRET_ACCESS_KEY", "GITHUB_TOKEN",
    "DATABASE_URL", "SSH_AUTH_SOCK", "LD_PRELOAD", "PYTHONPATH", "VIRTUAL_ENV", "path", "LC",
]  # fmt: skip


@pytest.mark.parametrize("name", SECRETS)
def test_variable_that_is_not_allowed_is_dropped(name: str) -> None:
    assert allowed_environment({name: "x"}) == {}


@pytest.mark.parametrize("name", ["PATH", "HOME", "USER", "LANG", "LC_ALL", "LC_TIME", "TZ", "TMPDIR", "TERM", "SHELL"])
def test_variable_that_every_program_needs_is_kept(name: str) -> None:
    assert allowed_environment({name: "x"}) == {name: "x"}


def test_job_overrides_its_worker_but_not_the_variables_of_the_attempt() -> None:
    base = {"PATH": "/bin", "LANG": "C", "ONESHOT_TOKEN": "of another"}

    built = job_environment(base, {"LANG": "de", "PYTHONUNBUFFERED": "0"}, job_id="j", attempt=2, token="t")

    assert built == {
        "PATH": "/bin",
        "LANG": "de",
        "PYTHONUNBUFFERED": "0",
        "ONESHOT_JOB_ID": "j",
        "ONESHOT_ATTEMPT": "2",
        "ONESHOT_TOKEN": "t",
    }
