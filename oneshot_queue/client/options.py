"""What both queues are made from: their settings, and the options a job may be given."""

from __future__ import annotations

import getpass
import os
import socket
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import TypedDict

from oneshot_queue.checks import checked_duration, checked_name
from oneshot_queue.client.effects import Context
from oneshot_queue.clock import SystemClock
from oneshot_queue.errors import BrokerNotConfigured, InvalidJob, InvalidSetting
from oneshot_queue.settings import Settings
from oneshot_queue.spec import JobSpec
from oneshot_queue.store.enqueue import When


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
    retries: int
    retry_on: Collection[str | int]
    retry_delay: float
    retry_max_delay: float
    exclusive: bool


def spec_of(command: Sequence[str | bytes] | JobSpec, options: JobOptions) -> JobSpec:
    """Make a spec out of a command and its options.

    Raises:
        InvalidJob: One of them makes no sense.
    """
    return replace(command, **options) if isinstance(command, JobSpec) else JobSpec(command, **options)


def checked_when(delay: float | None, at: datetime | None, expires: float | None, *, now_ms: int) -> When:
    """Put together when a job may be started.

    Args:
        now_ms: The time here, ms since 1970.

    Raises:
        InvalidJob: One of them makes no sense.
    """
    if delay is not None and at is not None:
        raise InvalidJob("at", "a job is delayed by a time or until an instant, not both")
    delay_s, expires_s = checked_duration("delay", delay), checked_duration("expires", expires)
    at_ms, waits_s = None, delay_s or 0
    if at is not None:
        if not isinstance(at, datetime) or at.tzinfo is None:
            raise InvalidJob("at", f"{at!r} must be a datetime with a time zone")
        at_ms = max(0, round(at.timestamp() * 1000))
        waits_s = (at_ms - now_ms) / 1000
    if expires_s is not None and expires_s <= max(0, waits_s):
        raise InvalidJob("expires", f"{expires_s:g} s from now the job has not been due yet; it would never start")
    return When(delay_s or None, at_ms, expires_s)


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
