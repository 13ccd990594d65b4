"""What this worker tells a server that may have forgotten its last writes: after a crash, or as the new primary.

It is said on the first connection to such a server, before that or any other connection carries a call: a renewal would
find the lease lost, and output its job not running. Claims meanwhile wait (``T:settling``), so that nobody starts again
what somebody runs.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

import anyio

from oneshot_queue.clock import Clock
from oneshot_queue.errors import BrokerError, OneshotQueueError
from oneshot_queue.settings import Settings
from oneshot_queue.store import claims
from oneshot_queue.store.attempts import Fenced
from oneshot_queue.store.calls import Call
from oneshot_queue.store.keys import QueueKeys
from oneshot_queue.store.leases import restore
from oneshot_queue.store.transport.connection import AsyncConnection, RunMany
from oneshot_queue.store.transport.server_facts import ServerFacts
from oneshot_queue.workers.worker.state.completions import Completion, Requeue
from oneshot_queue.workers.worker.state.held_jobs import HeldJob, HeldJobs
from oneshot_queue.workers.worker.state.leases import Lease

logger = logging.getLogger(__name__)


SETTLING_S: Final = 4.5
"""How long to go on telling: no longer than claims wait for it."""

ROUND_S: Final = 0.5


@dataclass(slots=True)
class _Untold:
    """What a server has not taken yet: it may be waiting for what another worker has to say of an earlier attempt.

    Attributes:
        until_s: When to believe the server, monotonic.
        telling: Held while it is being told; one at a time.
    """

    held: list[HeldJob]
    over: list[Completion | Requeue]
    until_s: float
    telling: anyio.Lock = field(default_factory=anyio.Lock)


class Reasserter:
    """Knows which run of its server each queue was last seen on, and meets a new one with all this worker knows.

    What the server does not take at first is told again and again while claims wait; until then nothing else is written
    about those jobs. What it refuses to the end is not this worker's.

    Args:
        recent: Ends and returns that were recorded a short while ago, and may be forgotten again.
        on_settled: Called with a job that is on record as this worker's again.
        on_fenced: Called with a job that the server gave to somebody else, or does not know.
    """

    def __init__(
        self,
        *,
        connection: AsyncConnection,
        leases: Sequence[Lease],
        held_jobs: HeldJobs,
        clock: Clock,
        settings: Settings,
        host: str,
        recent: Callable[[QueueKeys], Iterable[Completion | Requeue]],
        on_settled: Callable[[HeldJob], None],
        on_fenced: Callable[[HeldJob], None],
    ) -> None:
        self._connection = connection
        self._leases = leases
        self._held_jobs = held_jobs
        self._clock = clock
        self._settings = settings
        self._host = host
        self._recent = recent
        self._on_settled = on_settled
        self._on_fenced = on_fenced
        self._runs: dict[str, str] = {}
        self._untold: dict[str, _Untold] = {}
        self._wanted = anyio.Event()

    def run_id_of(self, keys: QueueKeys) -> str:
        """The run of the server that a queue lives on; '' if it does not say."""
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
        """Go on telling, whenever a server has not taken everything at once."""
        while True:
            if not self._untold:
                self._wanted = anyio.Event()
                await self._wanted.wait()
            await anyio.sleep(ROUND_S)
            try:
                await self.run_once()
            except OneshotQueueError as problem:
                logger.debug("cannot tell what runs here yet: %s", problem)

    async def run_once(self) -> int:
        """Tell once more what was not taken; returns how much is left.

        Raises:
            BrokerError: The broker is out of reach or refuses.
        """
        for queue, untold in list(self._untold.items()):
            await self._tell(untold, self._connection.run_many)
            if self._untold.get(queue) is not untold:
                continue  # the server was restarted once more meanwhile, and is told from the beginning
            if self._clock.monotonic() >= untold.until_s:
                for held in untold.held:
                    held.is_unsettled = False
                    self._on_fenced(held)
                untold.held.clear()
                untold.over.clear()
            if not untold.held and not untold.over:
                del self._untold[queue]
        return len(self._untold)

    async def _reassert(self, lease: Lease, run_many: RunMany) -> None:
        held = [each for each in self._held_jobs if each.keys == lease.keys and not each.is_fenced]
        untold = _Untold(held, list(self._recent(lease.keys)), self._clock.monotonic() + SETTLING_S)
        for each in held:
            each.is_unsettled = True
        # First of all: should this server not take it, the next one is told.
        self._untold[lease.keys.queue] = untold
        self._wanted.set()
        counts = (len(untold.held), len(untold.over))
        (answer,) = await run_many([restore(lease.keys, lease.id, self._settings.lease_s)])
        if isinstance(answer, Exception):
            raise answer
        await self._tell(untold, run_many)
        logger.warning(
            "queue %s is on another run of its server: told it of the jobs that run here (%d) "
            "and that ended lately (%d); it hands out no jobs for a few seconds",
            lease.keys.queue,
            *counts,
        )

    async def _tell(self, untold: _Untold, run_many: RunMany) -> None:
        """First what is over, then what runs: the next attempt can be taken only when the end of the former was."""
        async with untold.telling:
            await self._tell_alone(untold, run_many)

    async def _tell_alone(self, untold: _Untold, run_many: RunMany) -> None:
        now_s = self._clock.monotonic()
        over = untold.over
        told = [each.again(now_s, self._host, self._settings) for each in over]
        answers = await run_many([call for calls in told for call in calls])
        left: list[Completion | Requeue] = []
        for each, calls in zip(over, told, strict=True):
            mine, answers = answers[: len(calls)], answers[len(calls) :]
            if isinstance(mine[-1], Fenced | BrokerError):
                left.append(each)
        untold.over = left
        running = untold.held
        answers = await run_many([self._adopt(held, now_s) for held in running])
        untold.held = [held for held, answer in zip(running, answers, strict=True) if answer is not True]
        for held in running:
            if held not in untold.held:
                held.is_unsettled = False
                self._on_settled(held)

    def _adopt(self, held: HeldJob, now_s: float) -> Call[bool]:
        began_s = now_s if held.started_s is None else held.started_s
        ago_ms = max(0, round((now_s - began_s) * 1000))
        return claims.adopt(held.keys, held.job_id, held.holder, attempt=held.attempt, host=self._host, ago_ms=ago_ms)
