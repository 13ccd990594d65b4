"""Sends the output of running jobs to Redis."""

from __future__ import annotations

import logging
import random
from collections.abc import Awaitable, Callable
from typing import Final

import anyio

from oneshot_queue.backoff import retry_delay
from oneshot_queue.clock import Clock
from oneshot_queue.errors import BrokerError, OneshotQueueError
from oneshot_queue.store import attempts
from oneshot_queue.store.attempts import Fenced, Holder, Recorded
from oneshot_queue.store.calls import Call
from oneshot_queue.store.transport.connection import AsyncConnection
from oneshot_queue.store.transport.refusals import is_damage, is_out_of_memory
from oneshot_queue.workers.worker.outages import level_of
from oneshot_queue.workers.worker.state.held_jobs import HeldJob
from oneshot_queue.workers.worker.state.output_buffer import BATCH_BYTES
from oneshot_queue.workers.worker.state.server_clock import ServerClock

logger = logging.getLogger(__name__)

FIRST_DELAY_S: Final = 0.01
"""How long the first output waits for more: a job that ends within it sends its output with its end."""

PERIOD_S: Final = 0.1
"""Time between two appends of one job: at most ten a second."""

SHARED_ROUND_BYTES: Final = 131_072
"""Most output in one round trip where several jobs have some, so that no flood holds up what others have to say."""


class Shipper:
    """Takes what jobs wrote in turns, a batch a job, and sends it; what is not acknowledged is sent again.

    Args:
        on_sent: Called with a job when a batch of it has been dealt with.
        on_fenced: Called with a job that turned out to be another's.
        on_away: Called when the broker could not be reached: ends of jobs wait for this output.
    """

    def __init__(
        self,
        *,
        connection: AsyncConnection,
        clock: Clock,
        server_clock: ServerClock,
        on_sent: Callable[[HeldJob], None],
        on_fenced: Callable[[HeldJob], None],
        on_away: Callable[[], Awaitable[None]],
    ) -> None:
        self._connection = connection
        self._clock = clock
        self._server_clock = server_clock
        self._on_sent = on_sent
        self._on_fenced = on_fenced
        self._on_away = on_away
        self._due: dict[HeldJob, float] = {}
        self._wanted = anyio.Event()

    def look_at(self, held: HeldJob, *, at_once: bool = False) -> None:
        """There is output of this job to send; ``at_once`` when there will be no more."""
        now = self._clock.monotonic()
        due = now if at_once else max(now + FIRST_DELAY_S, held.next_append_s)
        known = self._due.get(held)
        if known is None or due < known:
            self._due[held] = due
            self._wanted.set()

    def forget(self, held: HeldJob) -> None:
        """There is nothing to send of this job."""
        self._due.pop(held, None)

    async def run(self) -> None:
        """Send for ever, outlasting any absence of the broker."""
        failures = 0
        while True:
            self._wanted = anyio.Event()
            wait_s = min(self._due.values(), default=float("inf")) - self._clock.monotonic()
            if wait_s > 0:
                with anyio.move_on_after(wait_s):
                    await self._wanted.wait()
                continue
            try:
                await self.run_once()
                failures = 0
            except OneshotQueueError as problem:
                failures += 1
                await self._on_away()
                logger.log(level_of(problem, failures), "cannot send output: %s", problem)
                await anyio.sleep(retry_delay(failures, base_s=0.05, cap_s=2.0, spread=random.uniform(0.5, 1.0)))

    async def run_once(self) -> int:
        """Send one batch of each job whose turn it is; returns of how many jobs.

        Raises:
            BrokerError: The broker is out of reach or refuses; the batches stay in flight, and are sent again.
        """
        now = self._clock.monotonic()
        turn: list[tuple[HeldJob, Holder]] = []
        calls: list[Call[Recorded | Fenced]] = []
        size = 0
        # Whoever has waited longest comes first: a round may be full before it comes to all.
        waiting = sorted((held for held, due in self._due.items() if due <= now), key=self._due.__getitem__)
        most = BATCH_BYTES if len(waiting) == 1 else SHARED_ROUND_BYTES
        for held in waiting:
            if size >= most:
                break
            if held.is_unsettled:
                self.forget(held)  # whoever settles it has it looked at again
                continue
            # The inline way is the recorder's, and still open while nothing was sent.
            is_inline = held.ended is not None and held.output.take_inline() is not None
            batch = None if held.is_fenced or is_inline else held.output.take(most)
            if batch is None:
                self.forget(held)
                continue
            turn.append((held, held.holder))
            size += sum(len(chunk.data) for chunk, _ in batch.chunks)
            calls.append(
                attempts.append_output(
                    held.keys,
                    held.job_id,
                    held.attempt,
                    held.holder,
                    batch.chunks,
                    total=batch.total,
                    dropped=batch.dropped,
                    now_ms=self._server_clock.now_ms(),
                    tail_from=batch.tail_from,
                )
            )
        refusal: BrokerError | None = None
        answers = await self._connection.run_many(calls) if calls else []
        for (held, holder), answer in zip(turn, answers, strict=True):
            match answer:
                case Recorded():
                    held.output.stored()
                case Fenced() if holder != held.holder or held.is_unsettled:
                    continue  # the same batch is sent again when it is settled whose the job is
                case Fenced():
                    held.output.refused()
                    self._on_fenced(held)
                case BrokerError() if not is_out_of_memory(answer) and not is_damage(answer):
                    refusal = answer
                    continue
                case _:
                    # Output is the first thing to give way when memory is short, or when somebody else has taken its
                    # place: dropped, and counted.
                    if not held.is_told_of_loss:
                        held.is_told_of_loss = True
                        logger.warning("job %s: output is dropped, and counted: %s", held.job_id, answer)
                    held.output.refused()
            self._go_on(held)
        if refusal is not None:
            raise refusal
        return len(turn)

    def _go_on(self, held: HeldJob) -> None:
        """A batch has been dealt with: when is the next?"""
        now = self._clock.monotonic()
        if held.output.is_waiting:
            held.next_append_s = self._due[held] = now if held.ended is not None else now + PERIOD_S
        elif held.ended is not None:
            self.forget(held)
        else:
            held.next_append_s = now + PERIOD_S
            self.forget(held)
        self._on_sent(held)
