"""The arguments of ``Queue`` and ``SyncQueue`` and of their ``enqueue``: how each is checked."""

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
    """The keyword arguments of ``enqueue`` that say how to run a command; ``JobSpec`` documents each.

    They repeat the fields of ``JobSpec``, because type checkers need them written out. A test compares both.
    """

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
    """Make a spec of a command and its options. If the command is a spec, the options replace its fields.

    Raises:
        InvalidJob: The command or an option is invalid.
    """
    return replace(command, **options) if isinstance(command, JobSpec) else JobSpec(command, **options)


def checked_when(delay: float | None, at: datetime | None, expires: float | None, *, now_ms: int) -> When:
    """Check when a job may be started.

    Args:
        delay: Seconds to wait before the start.
        at: The earliest start.
        expires: Seconds after which the job fails if no worker has started it.
        now_ms: The time on this machine, in ms since 1970.

    Raises:
        InvalidJob: One is invalid, ``delay`` and ``at`` are both given, or the job would expire before it is due.
    """
    if delay is not None and at is not None:
        raise InvalidJob("at", "cannot be combined with delay; give one of them")
    delay_s, expires_s = checked_duration("delay", delay), checked_duration("expires", expires)
    at_ms, waits_s = None, delay_s or 0
    if at is not None:
        if not isinstance(at, datetime) or at.tzinfo is None:
            raise InvalidJob("at", f"{at!r} must be a datetime with a time zone")
        at_ms = max(0, round(at.timestamp() * 1000))
        waits_s = (at_ms - now_ms) / 1000
    if expires_s is not None and expires_s <= max(0, waits_s):
        raise InvalidJob("expires", f"the job would expire {expires_s:g} s from now, before it is due")
    return When(delay_s or None, at_ms, expires_s)


def context_for(url: str | None, queue: str, settings: Settings | None) -> Context:
    """Build the context that every verb needs.

    Args:
        url: URL of the broker; ``None`` for that of the settings.
        queue: Name of the queue.
        settings: Limits and names; ``None`` to read them from the environment.

    Raises:
        BrokerNotConfigured: No URL is given, and ``ONESHOT_QUEUE_URL`` is not set.
        InvalidSetting: The queue's name or a setting is invalid.
    """
    settings = Settings.from_env(os.environ) if settings is None else settings
    settings = settings if url is None else replace(settings, url=url)
    if settings.url is None:
        raise BrokerNotConfigured
    return Context(settings, checked_queue(queue), SystemClock(), f"{_user()}@{socket.gethostname()}")


def checked_queue(queue: str) -> str:
    """Return ``queue`` if it is a valid name of a queue.

    Raises:
        InvalidSetting: It is not.
    """
    try:
        return checked_name("queue", queue)
    except InvalidJob as refusal:
        raise InvalidSetting("queue", refusal.problem) from None


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())  # in a container, the user may have no name
