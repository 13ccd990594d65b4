"""What both queues are made from: their settings, and the options a job may be given."""

from __future__ import annotations

import getpass
import os
import socket
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import TypedDict

from oneshot_queue.checks import checked_name
from oneshot_queue.client.effects import Context
from oneshot_queue.clock import SystemClock
from oneshot_queue.errors import BrokerNotConfigured, InvalidJob, InvalidSetting
from oneshot_queue.jobs import JobSpec
from oneshot_queue.settings import Settings


class JobOptions(TypedDict, total=False):
    """How to run a command; see ``JobSpec`` for what each one means."""

    name: str | None
    cwd: str | None
    env: Mapping[str, str]
    labels: Mapping[str, str]
    priority: str
    stdin: bytes | None
    time_limit: float | None
    idle_after: float | None
    idle_timeout: float | None
    grace: float
    success_codes: Collection[int]
    pty: bool


def spec_of(command: Sequence[str | bytes] | JobSpec, options: JobOptions) -> JobSpec:
    """Make a spec out of a command and its options.

    Raises:
        InvalidJob: One of them makes no sense.
    """
    return replace(command, **options) if isinstance(command, JobSpec) else JobSpec(command, **options)


def context_for(url: str | None, queue: str, settings: Settings | None) -> Context:
    """Put together what every verb needs to know.

    Raises:
        BrokerNotConfigured: There is no URL, neither given nor in ``ONESHOT_QUEUE_URL``.
        InvalidSetting: The queue's name, or a setting, makes no sense.
    """
    settings = Settings.from_env(os.environ) if settings is None else settings
    settings = settings if url is None else replace(settings, url=url)
    if settings.url is None:
        raise BrokerNotConfigured
    return Context(settings, checked_queue(queue), SystemClock(), f"{_user()}@{socket.gethostname()}")


def checked_queue(queue: str) -> str:
    """Return ``queue`` if a queue may have this name.

    Raises:
        InvalidSetting: It may not.
    """
    try:
        return checked_name("queue", queue)
    except InvalidJob as refusal:
        raise InvalidSetting("queue", refusal.problem) from None


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())  # a container's user may have no name
