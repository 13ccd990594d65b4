"""Reports this worker's jobs again to a server that may have lost its last writes in a crash or a failover.

It does so on the first connection to that server, before any other call is sent: otherwise a renewal would find the
lease lost, and output would be refused because its job is not running. Claims wait meanwhile (``T:settling``), so that
no worker starts a job that another one runs.
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
"""How long to repeat reports that a server has not accepted: no longer than claims wait for them."""

ROUND_S: Final = 0.5


class Recorder(Protocol):
    """Records what happens to held jobs, and remembers what it recorded."""

    def recent(self, keys: QueueKeys) -> Iterable[Completion | Requeue]:
        """Return what was recently recorded about a queue's jobs, which a server may have lost."""

    def schedule(self, held: HeldJob) -> None:
        """Check soon what has to be recorded about this job."""


class Shipper(Protocol):
    """Sends output."""

    def schedule(self, held: HeldJob) -> None:
        """Check soon whether there is output of this job to send."""


class Control(Protocol):
    """Ends jobs."""

    def fence(self, held: HeldJob, why: str) -> None:
        """Kill the processes of a job that this worker no longer holds, and record nothing about it."""


@dataclass(slots=True)
class _Unconfirmed:
    """The reports that a server has not accepted yet: another worker may have to report an earlier attempt first.

    Attributes:
        held: Jobs that this worker holds.
        finished: What this worker has recently recorded.
        until_s: When to stop repeating them, monotonic.
        reporting: Held while they are sent, so that only one caller sends them.
    """

    held: list[HeldJob]
    finished: list[Completion | Requeue]
    until_s: float
    reporting: anyio.Lock = field(default_factory=anyio.Lock)


class Reasserter:
    """Detects that a queue's server has restarted or failed over, and reports this worker's jobs to it again.

    A report that the server does not accept is repeated while claims wait. Until it is accepted, nothing else is
    recorded about that job. If the server refuses it to the end, this worker no longer holds the job, and fences it.
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
        """Return the run id of the server that a queue is on; empty if unknown."""
        return self._runs.get(keys.queue, "")

    async def meet_server(self, facts: ServerFacts, run_many: RunMany) -> None:
        """Act on a connection to a server with a new run id: report jobs if it is not the first one.

        Raises:
            BrokerError: Not everything could be reported; the next connection tries again.
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
        """Repeat reports that a server has not accepted, until cancelled."""
        await repeat(self.run_once, self._wait_until_wanted, "report running jobs to the broker")

    async def _wait_until_wanted(self) -> None:
        if not self._unconfirmed:
            self._wanted = anyio.Event()
            await self._wanted.wait()
        await anyio.sleep(ROUND_S)

    async def run_once(self) -> int:
        """Repeat the reports that were not accepted; returns for how many queues some are left.

        Raises:
            BrokerError: The broker cannot be reached or refuses.
        """
        for queue, unconfirmed in list(self._unconfirmed.items()):
            await self._report(unconfirmed, self._connection.run_many)
            if self._unconfirmed.get(queue) is not unconfirmed:
                continue  # The server was restarted again meanwhile, and everything is reported anew.
            if self._clock.monotonic() >= unconfirmed.until_s:
                for held in unconfirmed.held:
                    held.is_unsettled = False
                    self._control.fence(held, "this worker no longer holds it: the broker does not confirm it")
                unconfirmed.held.clear()
                unconfirmed.finished.clear()
            if not unconfirmed.held and not unconfirmed.finished:
                del self._unconfirmed[queue]
        return len(self._unconfirmed)

    async def _reassert(self, lease: Lease, run_many: RunMany) -> None:
        held = [each for each in self._held_jobs if each.keys == lease.keys and each.phase is not FENCED]
        finished = list(self._recorder.recent(lease.keys))
        unconfirmed = _Unconfirmed(held, finished, self._clock.monotonic() + SETTLING_S)
        for each in held:
            each.is_unsettled = True
        # Store this first: if this server cannot be reached, the reports go to the next one.
        self._unconfirmed[lease.keys.queue] = unconfirmed
        self._wanted.set()
        counts = (len(held), len(finished))
        (answer,) = await run_many([restore(lease.keys, lease.id, self._settings.lease_s)])
        if isinstance(answer, Exception):
            raise answer
        await self._report(unconfirmed, run_many)
        logger.warning(
            "Redis restarted or failed over: reported %d running and %d finished jobs again; "
            "dispatch pauses for a few seconds",
            *counts,
            extra={"queue": lease.keys.queue},
        )

    async def _report(self, unconfirmed: _Unconfirmed, run_many: RunMany) -> None:
        async with unconfirmed.reporting:
            # Finished attempts first: an attempt is accepted only after the result of the one before.
            await self._report_finished(unconfirmed, run_many)
            await self._report_held(unconfirmed, run_many)

    async def _report_finished(self, unconfirmed: _Unconfirmed, run_many: RunMany) -> None:
        now_s = self._clock.monotonic()
        finished = unconfirmed.finished
        calls_of_each = [each.again(now_s, self._host, self._settings) for each in finished]
        answers = await run_many([call for calls in calls_of_each for call in calls])
        left: list[Completion | Requeue] = []
        for each, calls in zip(finished, calls_of_each, strict=True):
            mine, answers = answers[: len(calls)], answers[len(calls) :]
            if isinstance(mine[-1], Fenced | BrokerError):
                left.append(each)
        unconfirmed.finished = left

    async def _report_held(self, unconfirmed: _Unconfirmed, run_many: RunMany) -> None:
        now_s = self._clock.monotonic()
        running = unconfirmed.held
        answers = await run_many([self._adopt(held, now_s) for held in running])
        unconfirmed.held = [held for held, answer in zip(running, answers, strict=True) if answer is not True]
        for held in running:
            if held not in unconfirmed.held:
                held.is_unsettled = False
                self._shipper.schedule(held)
                self._recorder.schedule(held)

    def _adopt(self, held: HeldJob, now_s: float) -> Call[bool]:
        process = held.process
        ago_ms = 0 if process is None else max(0, round((now_s - process.started_s) * 1000))
        return claims.adopt(held.keys, held.job_id, held.holder, attempt=held.attempt, host=self._host, ago_ms=ago_ms)
