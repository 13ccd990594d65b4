"""What this worker tells a server that may have forgotten its last writes: after a crash, or as the new primary.

It is said on the first connection to such a server, before that or any other connection carries a call: a renewal would
find the lease lost, and output its job not running. Claims meanwhile wait (``T:settling``), so that nobody starts again
what somebody runs.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from oneshot_queue.clock import Clock
from oneshot_queue.settings import Settings
from oneshot_queue.store import claiming, lease_store
from oneshot_queue.store.calls import Call
from oneshot_queue.store.connection import AsyncConnection, RunMany
from oneshot_queue.store.keys import QueueKeys
from oneshot_queue.store.server_facts import ServerFacts
from workers.endings import Ending, Return
from workers.holdings import HeldJob, Holdings
from workers.leases import Lease

logger = logging.getLogger(__name__)


class Reassertion:
    """Knows which run of its server each queue was last seen on, and meets a new one with all this worker knows.

    Args:
        recent: Ends and returns that were recorded a short while ago, and may be forgotten again.
        on_fenced: Called with a job that the server gave to somebody else.
    """

    def __init__(
        self,
        *,
        connection: AsyncConnection,
        leases: Sequence[Lease],
        holdings: Holdings,
        clock: Clock,
        settings: Settings,
        host: str,
        recent: Callable[[QueueKeys], Iterable[Ending | Return]],
        on_fenced: Callable[[HeldJob], None],
    ) -> None:
        self._connection = connection
        self._leases = leases
        self._holdings = holdings
        self._clock = clock
        self._settings = settings
        self._host = host
        self._recent = recent
        self._on_fenced = on_fenced
        self._runs: dict[str, str] = {}

    def run_id_of(self, keys: QueueKeys) -> str:
        """The run of the server that a queue lives on; '' if it does not say."""
        return self._runs.get(keys.queue, "")

    async def greet(self, facts: ServerFacts, run_many: RunMany) -> None:
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

    async def _reassert(self, lease: Lease, run_many: RunMany) -> None:
        now_s = self._clock.monotonic()
        held = [each for each in self._holdings if each.keys == lease.keys and not each.is_fenced]
        ended = list(self._recent(lease.keys))
        calls: list[Call[Any]] = [lease_store.restore(lease.keys, lease.id, self._settings.lease_s)]
        calls += [self._adopt(each, now_s) for each in held]
        for ending in ended:
            calls += ending.again(now_s, self._host, self._settings)
        answers = await run_many(calls)
        for each, answer in zip(held, answers[1:], strict=False):
            if answer is False:
                self._on_fenced(each)
        logger.warning(
            "queue %s is on another run of its server: told it of %d jobs that run here and %d that ended lately",
            lease.keys.queue,
            len(held),
            len(ended),
        )

    def _adopt(self, held: HeldJob, now_s: float) -> Call[bool]:
        began_s = now_s if held.started_s is None else held.started_s
        ago_ms = max(0, round((now_s - began_s) * 1000))
        return claiming.adopt(held.keys, held.job_id, held.holder, attempt=held.attempt, host=self._host, ago_ms=ago_ms)
