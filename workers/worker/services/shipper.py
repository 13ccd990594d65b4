"""Sends the output of running jobs to Redis."""

from __future__ import annotations

import logging
from typing import Final, Protocol

import anyio

from oneshot_queue.errors import BrokerError
from oneshot_queue.store import attempts
from oneshot_queue.store.attempts import Fenced, Holder, Recorded
from oneshot_queue.store.calls import Call
from oneshot_queue.store.transport.refusals import is_damage, is_out_of_memory
from oneshot_queue.workers.worker.repeating import repeat
from oneshot_queue.workers.worker.session import Session
from oneshot_queue.workers.worker.state.held_jobs import FENCED, Ended, HeldJob, log_fields
from oneshot_queue.workers.worker.state.output_buffer import BATCH_BYTES

logger = logging.getLogger(__name__)

FIRST_DELAY_S: Final = 0.01
"""How long the first output of a job waits for more: if the job ends by then, it is sent with the result."""

PERIOD_S: Final = 0.1
"""Time between two appends of one job: at most ten a second."""

SHARED_ROUND_BYTES: Final = 131_072
"""Most bytes in one round trip when several jobs have output, so that no job delays the others for long."""

FIRST_RETRY_S: Final = 0.05


class Recorder(Protocol):
    """Records results once their output is sent."""

    def schedule(self, held: HeldJob) -> None:
        """Check soon whether the result of this job is due, because a batch of its output was sent or dropped."""

    async def spool_results(self) -> None:
        """Spool the results that wait for output, because it cannot be sent now."""


class Control(Protocol):
    """Ends jobs."""

    def fence(self, held: HeldJob, why: str) -> None:
        """Kill the processes of a job that this worker no longer holds, and record nothing about it."""


class Shipper:
    """Sends output, one batch of each job in turn. A batch that is not acknowledged is sent again."""

    def __init__(self, session: Session, *, recorder: Recorder, control: Control) -> None:
        self._connection = session.connection
        self._clock = session.clock
        self._server_clock = session.server_clock
        self._recorder = recorder
        self._control = control
        self._due: dict[HeldJob, float] = {}
        self._wanted = anyio.Event()

    def schedule(self, held: HeldJob, *, at_once: bool = False) -> None:
        """Send output of this job soon, or ``at_once`` when there will be no more."""
        now = self._clock.monotonic()
        due = now if at_once else max(now + FIRST_DELAY_S, held.next_append_s)
        known = self._due.get(held)
        if known is None or due < known:
            self._due[held] = due
            self._wanted.set()

    def forget(self, held: HeldJob) -> None:
        """Send nothing of this job."""
        self._due.pop(held, None)

    async def run(self) -> None:
        """Send until cancelled, also after outages of the broker."""
        # Results wait for output that cannot be sent now.
        spool = self._recorder.spool_results
        await repeat(self.run_once, self._wait_until_due, "send output", retry_s=FIRST_RETRY_S, after_failure=spool)

    async def _wait_until_due(self) -> None:
        while True:
            self._wanted = anyio.Event()
            wait_s = min(self._due.values(), default=float("inf")) - self._clock.monotonic()
            if wait_s <= 0:
                return
            with anyio.move_on_after(wait_s):
                await self._wanted.wait()

    async def run_once(self) -> int:
        """Send one batch of each job that is due; returns for how many jobs.

        Raises:
            BrokerError: The broker cannot be reached or refuses; the batches stay in flight, and are sent again.
        """
        now = self._clock.monotonic()
        turn: list[tuple[HeldJob, Holder]] = []
        calls: list[Call[Recorded | Fenced]] = []
        size = 0
        # The job that has waited longest comes first, because a round may be full before all had their turn.
        waiting = sorted((held for held, due in self._due.items() if due <= now), key=self._due.__getitem__)
        most = BATCH_BYTES if len(waiting) == 1 else SHARED_ROUND_BYTES
        for held in waiting:
            if size >= most:
                break
            if held.is_unsettled:
                self.forget(held)  # The reasserter schedules it again once it is settled.
                continue
            # If nothing was sent before, the output of a job that has ended can be sent with its result.
            is_inline = isinstance(held.phase, Ended) and held.output.take_inline() is not None
            batch = None if held.phase is FENCED or is_inline else held.output.take(most)
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
                    continue  # The same batch is sent again once it is clear which worker holds the job.
                case Fenced():
                    held.output.refused()
                    self._control.fence(held, "this worker no longer holds it")
                case BrokerError() if not is_out_of_memory(answer) and not is_damage(answer):
                    refusal = answer
                    continue
                case _:
                    # Drop output if memory is full or its key is damaged: results are more important.
                    if not held.has_logged_loss:
                        held.has_logged_loss = True
                        logger.warning("output is dropped: %s", answer, extra=log_fields(held))
                    held.output.refused()
            self._schedule_next(held)
        if refusal is not None:
            raise refusal
        return len(turn)

    def _schedule_next(self, held: HeldJob) -> None:
        """Schedule the next batch of a job, because one was sent or dropped."""
        now = self._clock.monotonic()
        if held.output.is_waiting:
            held.next_append_s = self._due[held] = now if isinstance(held.phase, Ended) else now + PERIOD_S
        elif isinstance(held.phase, Ended):
            self.forget(held)
        else:
            held.next_append_s = now + PERIOD_S
            self.forget(held)
        self._recorder.schedule(held)
