"""Tells a server that may have forgotten its last writes, after a crash or a failover, what this worker runs.

It does so on the first connection to such a server, before that or any other connection carries a call: a renewal would
find the lease lost, and output its job not running. Claims wait meanwhile (``T:settling``), so that no worker starts
again what another one runs.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final, Protocol

import anyio

from oneshot_queue.errors import BrokerError
from oneshot_queue.store import claims
from oneshot_queue.store.attempts import Fenced
from oneshot_queue.store.calls import Call
from oneshot_queue.store.keys import QueueKeys
from oneshot_queue.store.leases import restore
from oneshot_queue.store.transport.connection import RunMany
from oneshot_queue.store.transport.server_facts import ServerFacts
from oneshot_queue.workers.worker.repeating import repeat
from oneshot_queue.workers.worker.session import Session
from oneshot_queue.workers.worker.state.completions import Completion, Requeue
from oneshot_queue.workers.worker.state.held_jobs import FENCED, HeldJob, HeldJobs
from oneshot_queue.workers.worker.state.leases import Lease

logger = logging.getLogger(__name__)


SETTLING_S: Final = 4.5
"""How long to repeat what a server has not accepted: no longer than claims wait for it."""

ROUND_S: Final = 0.5


class Recorder(Protocol):
    """Records what happens to held jobs, and remembers what it recorded."""

    def recent(self, keys: QueueKeys) -> Iterable[Completion | Requeue]:
        """What was recorded of a queue's jobs a short while ago, and may be forgotten."""

    def look_at(self, held: HeldJob) -> None:
        """There may be something to record about this job."""


class Shipper(Protocol):
    """Sends output."""

    def look_at(self, held: HeldJob) -> None:
        """There may be output of this job to send."""


class Control(Protocol):
    """Ends jobs."""

    def fence(self, held: HeldJob, why: str) -> None:
        """Kill the processes of a job that is not this worker's any more, and record nothing about it."""


@dataclass(slots=True)
class _Unconfirmed:
    """What a server has not accepted yet: it may have to hear first what another worker knows of an earlier attempt.

    Attributes:
        until_s: When to believe the server, monotonic.
        telling: Held while it is told; one at a time.
    """

    held: list[HeldJob]
    over: list[Completion | Requeue]
    until_s: float
    telling: anyio.Lock = field(default_factory=anyio.Lock)


class Reasserter:
    """Detects that a queue's server has restarted or failed over, and tells it again what this worker runs.

    What the server does not accept at first is repeated while claims wait; until then nothing else is recorded about
    those jobs. What it refuses to the end is not this worker's, and is fenced.
    """

    def __init__(
        self, session: Session, held_jobs: HeldJobs, *, recorder: Recorder, shipper: Shipper, control: Control
    ) -> None:
        self._connection = session.connection
        self._leases = session.leases
        self._clock = session.clock
        self._settings = session.settings
        self._host = session.identity.host
        self._held_jobs = held_jobs
        self._recorder = recorder
        self._shipper = shipper
        self._control = control
        self._runs: dict[str, str] = {}
        self._unconfirmed: dict[str, _Unconfirmed] = {}
        self._wanted = anyio.Event()

    def run_id_of(self, keys: QueueKeys) -> str:
        """The run of the server that a queue is on; '' if the server does not report it."""
        return self._runs.get(keys.queue, "")

    async def meet_server(self, facts: ServerFacts, run_many: RunMany) -> None:
        """Meet a run of a server that this connection has not met before.

        Raises:
            BrokerError: It could not be told everything; the next connection meets it again.
        """
        if facts.run_id is None:
            return
        for lease in self._leases:
            if self._connection.facts_of(lease.keys.prefix) != facts:
                continue
            known = self._runs.get(lease.keys.queue)
            if known is not None and known != facts.run_id:
                await self._reassert(lease, run_many)
            self._runs[lease.keys.queue] = facts.run_id

    async def run(self) -> None:
        """Repeat what a server has not accepted at once, until cancelled."""
        await repeat(self.run_once, self._wait_until_wanted, "tell the broker what runs here")

    async def _wait_until_wanted(self) -> None:
        if not self._unconfirmed:
            self._wanted = anyio.Event()
            await self._wanted.wait()
        await anyio.sleep(ROUND_S)

    async def run_once(self) -> int:
        """Repeat once what was not accepted; returns for how many queues something is left.

        Raises:
            BrokerError: The broker cannot be reached or refuses.
        """
        for queue, unconfirmed in list(self._unconfirmed.items()):
            await self._tell(unconfirmed, self._connection.run_many)
            if self._unconfirmed.get(queue) is not unconfirmed:
                continue  # The server was restarted once more meanwhile, and is told from the beginning.
            if self._clock.monotonic() >= unconfirmed.until_s:
                for held in unconfirmed.held:
                    held.is_unsettled = False
                    self._control.fence(held, "it is not this worker's any more: the broker does not confirm it")
                unconfirmed.held.clear()
                unconfirmed.over.clear()
            if not unconfirmed.held and not unconfirmed.over:
                del self._unconfirmed[queue]
        return len(self._unconfirmed)

    async def _reassert(self, lease: Lease, run_many: RunMany) -> None:
        held = [each for each in self._held_jobs if each.keys == lease.keys and each.phase is not FENCED]
        over = list(self._recorder.recent(lease.keys))
        unconfirmed = _Unconfirmed(held, over, self._clock.monotonic() + SETTLING_S)
        for each in held:
            each.is_unsettled = True
        # First of all: should this server not accept it, the next one is told.
        self._unconfirmed[lease.keys.queue] = unconfirmed
        self._wanted.set()
        counts = (len(held), len(over))
        (answer,) = await run_many([restore(lease.keys, lease.id, self._settings.lease_s)])
        if isinstance(answer, Exception):
            raise answer
        await self._tell(unconfirmed, run_many)
        logger.warning(
            "Redis restarted or failed over: reported %d running and %d finished jobs again; "
            "dispatch pauses for a few seconds",
            *counts,
            extra={"queue": lease.keys.queue},
        )

    async def _tell(self, unconfirmed: _Unconfirmed, run_many: RunMany) -> None:
        async with unconfirmed.telling:
            # First what is over, then what runs: an attempt is accepted only after the result of the one before.
            await self._tell_over(unconfirmed, run_many)
            await self._tell_running(unconfirmed, run_many)

    async def _tell_over(self, unconfirmed: _Unconfirmed, run_many: RunMany) -> None:
        now_s = self._clock.monotonic()
        over = unconfirmed.over
        told = [each.again(now_s, self._host, self._settings) for each in over]
        answers = await run_many([call for calls in told for call in calls])
        left: list[Completion | Requeue] = []
        for each, calls in zip(over, told, strict=True):
            mine, answers = answers[: len(calls)], answers[len(calls) :]
            if isinstance(mine[-1], Fenced | BrokerError):
                left.append(each)
        unconfirmed.over = left

    async def _tell_running(self, unconfirmed: _Unconfirmed, run_many: RunMany) -> None:
        now_s = self._clock.monotonic()
        running = unconfirmed.held
        answers = await run_many([self._adopt(held, now_s) for held in running])
        unconfirmed.held = [held for held, answer in zip(running, answers, strict=True) if answer is not True]
        for held in running:
            if held not in unconfirmed.held:
                held.is_unsettled = False
                self._shipper.look_at(held)
                self._recorder.look_at(held)

    def _adopt(self, held: HeldJob, now_s: float) -> Call[bool]:
        process = held.process
        ago_ms = 0 if process is None else max(0, round((now_s - process.started_s) * 1000))
        return claims.adopt(held.keys, held.job_id, held.holder, attempt=held.attempt, host=self._host, ago_ms=ago_ms)
