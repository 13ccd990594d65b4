"""Runs one command once, from CREATED to its outcome."""

from __future__ import annotations

import asyncio
import secrets
import signal
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

import anyio

from oneshot_queue.outcomes import Cause, Outcome
from oneshot_queue.spec import JobSpec
from oneshot_queue.states import JobState
from oneshot_queue.task_events import (
    ActivityDetected,
    InterruptStarted,
    OutputReceived,
    SilenceDetected,
    SpawnDelayed,
    TaskEnded,
    TaskStarted,
)
from oneshot_queue.workers.engine.crash_points import crash_at
from oneshot_queue.workers.engine.outcomes import outcome_of
from oneshot_queue.workers.engine.runtime import Runtime, StartForbidden
from oneshot_queue.workers.processes.environment import job_environment
from oneshot_queue.workers.processes.pipes import OutputPipe, OutputPipes, StdinFeeder
from oneshot_queue.workers.processes.process import Process
from oneshot_queue.workers.processes.process_tree import Lineage
from oneshot_queue.workers.processes.procfs import ticks_now
from oneshot_queue.workers.processes.spawn_errors import SpawnRefused
from oneshot_queue.workers.processes.spawning import SpawnPostponed, spawn
from oneshot_queue.workers.processes.termination import Termination

_SPAWN_DELAYS_S: Final = (0.05, 5.0)
_ABORT_S: Final = 5.0
_CANCELLED: Final = "the caller was cancelled"

OnEnd = Callable[["OneshotTask", Outcome], None]


class OneshotTask:
    """Runs a command once, in its own process group, and leaves no process of it behind.

    ``AsyncOrchestrator.submit`` creates and runs tasks::

        from oneshot_queue import AsyncOrchestrator

        async with AsyncOrchestrator() as orchestrator:
            task = orchestrator.submit(["make", "-j4"])
            task.interrupt(grace=5)
            outcome = await task.wait()

    The state machine holds the state, and its ``interrupt`` event interrupts the command. Every change is reported to
    the observers. A task has no timer: the orchestrator's heartbeat awaits ``_monitor_health``. The orchestrator also
    adopts orphans. A task that runs on its own enforces no time limits, and does not find orphans.

    Args:
        task_id: Name of the task in events. It is also ``ONESHOT_JOB_ID`` in the process, unless ``job_id`` is given.
        command: An argv, or a ``JobSpec`` with its own limits.
        attempt: Number of the attempt; the first is 1.
        token: Proof of the right to run the job, and the cookie of its processes. Random if not given.
        job_id: ``ONESHOT_JOB_ID`` in the process.
        runtime: What the tasks of an orchestrator share. A task without one makes its own.
        on_end: Called with the task and its outcome, after the observers.

    Raises:
        InvalidJob: The argv is invalid.
    """

    def __init__(
        self,
        task_id: str,
        command: JobSpec | Sequence[str | bytes],
        *,
        attempt: int = 1,
        token: str | None = None,
        job_id: str | None = None,
        runtime: Runtime | None = None,
        on_end: OnEnd | None = None,
    ) -> None:
        self.task_id = task_id
        self.spec = command if isinstance(command, JobSpec) else JobSpec(command)
        self.command = self.spec.command
        self.attempt = attempt
        self.token = token or secrets.token_hex(16)
        self.job_id = job_id or task_id
        self._runtime = runtime or Runtime()
        self._owns_runtime = runtime is None
        self.machine = self._runtime.machine_for(self)
        self.outcome: Outcome | None = None
        self._on_end = on_end
        self._capture = self._runtime.new_capture()
        self._process: Process | None = None
        self._lineage: Lineage | None = None
        self._pipes: OutputPipes | None = None
        self._stdin: StdinFeeder | None = None
        self._started_at = self._last_output_at = 0.0
        self._termination: Termination | None = None
        self._end_cause: Cause | None = None
        self._ended = asyncio.Event()
        self._grace_s = self.spec.grace
        self._reason: str | None = None

    @property
    def state(self) -> JobState:
        """The current state, or the state in which the task ended."""
        return self.machine.state if self.outcome is None else self.outcome.state

    @property
    def pid(self) -> int | None:
        """Process id of the leader; ``None`` before it is started."""
        return self._process.pid if self._process else None

    async def run(self) -> Outcome:
        """Run the command, and return its outcome when no process of it is left, or when some survived SIGKILL.

        A cancellation kills and reaps the command, reports its outcome to the observers, and is raised again.
        """
        try:
            await self._start()
            if self.outcome is None:
                await self._finish()
            else:
                self._release()
        except GeneratorExit:
            # The event loop is closed, so nothing can be awaited.
            if self._process is not None:
                self._process.signal_group(signal.SIGKILL)
            raise
        except BaseException:
            await self._abort()
            raise
        assert self.outcome is not None
        return self.outcome

    async def wait(self) -> Outcome:
        """Wait for the outcome."""
        await self._ended.wait()
        assert self.outcome is not None
        return self.outcome

    async def outlast_survivors(self) -> None:
        """After an outcome with survivors, keep killing them until they are gone. Otherwise return at once."""
        if self._termination is not None and self.outcome is not None and self.outcome.survivors:
            try:
                await self._termination.outlast_survivors()
            finally:
                self._release()

    def interrupt(self, *, grace: float | None = None, reason: str | None = None) -> bool:
        """Interrupt the command: send TERM, and KILL after the grace period. A second call may shorten the grace.

        Args:
            grace: Seconds between TERM and KILL, instead of the job's own; 0 kills at once.
            reason: Text for people, passed on in ``InterruptStarted``.

        Returns:
            Whether the task ends, or has ended, INTERRUPTED. False if the command exited by itself first.
        """
        if self.state is JobState.INTERRUPTED:
            if self.outcome is None and grace is not None and self._termination is not None:
                self._termination.hasten(grace)
            return True
        if self.outcome is not None:
            return False
        if self._termination is not None and self._termination.has_exited():
            if grace == 0:
                self._termination.hasten(0.0)
            return False
        if grace is not None:
            self._grace_s = grace
        self._reason = reason
        self.machine.interrupt()
        return True

    def give_up(self, cause: Cause, *, grace: float | None = None, reason: str | None = None) -> bool:
        """End the command as ``interrupt`` does, but with the outcome FAILED and this cause.

        Args:
            cause: Cause of the outcome.
            grace: Seconds between TERM and KILL, instead of the job's own; 0 kills at once.
            reason: Text for people, passed on in ``InterruptStarted``.

        Returns:
            Whether the termination began. False if the process does not exist yet, has exited, or is being ended.
        """
        if self._termination is None or self._end_cause is not None or self._termination.has_exited():
            return False
        if grace is not None:
            self._grace_s = grace
        self._reason = reason
        self._end_for(cause)
        return True

    def terminate(self) -> None:
        """Begin to end the processes. The state machine calls this when it enters INTERRUPTED."""
        if self._termination is None:
            self._conclude(Outcome(JobState.INTERRUPTED, Cause.INTERRUPTED, attempt=self.attempt))
        else:
            self._end_for(Cause.INTERRUPTED)

    # ------------------------------------------------------------------------------------------------------------ start

    async def _start(self) -> None:
        delay_s, longest_s = _SPAWN_DELAYS_S
        environment = job_environment(
            self._runtime.environment, self.spec.env, job_id=self.job_id, attempt=self.attempt, token=self.token
        )
        while self.outcome is None:
            not_before = ticks_now()
            crash_at("before_spawn")
            try:
                self._runtime.starts.begin(self.task_id)
                process = spawn(
                    self.spec.argv,
                    cwd=self.spec.cwd,
                    env=environment,
                    with_stdin=self.spec.stdin is not None,
                    with_terminal=self.spec.pty,
                    is_sealed=self._runtime.is_sealed,
                )
            except SpawnRefused as refused:
                self._runtime.starts.withdraw(self.task_id)
                self.machine.fail()
                error, code = str(refused), refused.exit_code
                self._conclude(Outcome(JobState.FAILED, Cause.SPAWN_ERROR, code, attempt=self.attempt, error=error))
            except (SpawnPostponed, StartForbidden) as postponed:
                self._runtime.starts.withdraw(self.task_id)
                self._runtime.notify(SpawnDelayed(self.task_id, str(postponed)))
                with anyio.move_on_after(delay_s):
                    await self._ended.wait()
                delay_s = min(delay_s * 2, longest_s)
            else:
                self._runtime.starts.started(self.task_id, process.pid, not_before, ticks_now())
                self._attach(process, not_before)
                return

    def _attach(self, process: Process, not_before: int) -> None:
        crash_at("after_spawn")
        self._process = process
        self._lineage = Lineage.of(process, not_before, job_id=self.job_id, token=self.token)
        self._runtime.tree.register(self._lineage)
        runtime = self._runtime
        self._termination = Termination(
            process, self._lineage, runtime.tree, runtime.readiness, survive_s=runtime.survive_s
        )
        self._pipes = OutputPipes(process, self._read_stream, runtime.readiness)
        self._started_at = self._last_output_at = self._runtime.clock.monotonic()
        self.machine.start()
        self._runtime.notify(TaskStarted(self.task_id, process.pid))
        if self.spec.stdin is not None:
            self._stdin = StdinFeeder(process, self.spec.stdin)

    # ------------------------------------------------------------------------------------------------------------- life

    async def _read_stream(self, stream: OutputPipe) -> None:
        """Read one output to its end: keep each chunk, report it to the observers, and end a silence."""
        offset = 0
        while chunk := await stream.read_chunk():
            self._last_output_at = self._runtime.clock.monotonic()
            if self.state is JobState.IDLE:
                self.machine.detect_activity()
                self._runtime.notify(ActivityDetected(self.task_id))
            if self._capture is not None:
                self._capture.append(stream.kind, chunk)
            self._runtime.notify(OutputReceived(self.task_id, stream.kind, offset, chunk))
            offset += len(chunk)

    async def _monitor_health(self) -> None:
        """Check silence and time limits against the clock; awaited by the orchestrator's heartbeat."""
        if self._termination is None or self._end_cause is not None or self._termination.has_exited():
            return
        now = self._runtime.clock.monotonic()
        silent_s = now - self._last_output_at
        spec = self.spec
        if spec.idle_after is not None and silent_s >= spec.idle_after and self.state is JobState.RUNNING:
            self.machine.detect_silence()
            self._runtime.notify(SilenceDetected(self.task_id, silent_s))
        if spec.time_limit is not None and now - self._started_at >= spec.time_limit:
            self._end_for(Cause.TIME_LIMIT)
        elif spec.idle_timeout is not None and silent_s >= spec.idle_timeout:
            self._end_for(Cause.IDLE_TIMEOUT)

    # -------------------------------------------------------------------------------------------------------------- end

    def _end_for(self, cause: Cause) -> None:
        assert self._termination is not None
        self._end_cause = cause
        crash_at("before_signal")
        self._termination.begin(self._grace_s)
        self._runtime.notify(InterruptStarted(self.task_id, cause, self._reason))

    async def _finish(self) -> None:
        process, lineage, termination = self._process, self._lineage, self._termination
        assert process is not None and lineage is not None and termination is not None  # noqa: PT018
        survivors = await termination.finish()
        if self._pipes is not None:
            await self._pipes.drain()
        exited = None
        if process.pid not in survivors:
            self._runtime.tree.release_leader(lineage)
            exited = process.reap()
            self._runtime.starts.exited(self.task_id, None if exited is None else exited.returncode)
            crash_at("after_exit")
        outcome = outcome_of(
            exited, self._end_cause, self.spec.success_codes, attempt=self.attempt, survivors=survivors
        )
        match outcome.state:
            case JobState.COMPLETED:
                self.machine.finish()
            case JobState.FAILED:
                self.machine.fail()
        if not survivors:
            self._release()
        self._conclude(outcome)

    async def _abort(self) -> None:
        if self.outcome is not None:
            return
        if self._termination is None:
            self.interrupt(reason=_CANCELLED)
            return
        with anyio.CancelScope(shield=True):
            self.interrupt(grace=0.0, reason=_CANCELLED)
            self._termination.kill_now(survive_s=_ABORT_S)
            await self._finish()
            self._release()

    def _conclude(self, outcome: Outcome) -> None:
        if self._capture is not None:
            outcome = replace(outcome, output=self._capture.result())
        self.outcome = outcome
        self._runtime.notify(TaskEnded(self.task_id, outcome))
        self._ended.set()
        if self._on_end is not None:
            self._on_end(self, outcome)

    def _release(self) -> None:
        if self._process is not None and self._lineage is not None:
            self._runtime.tree.forget(self._lineage)
            if self._stdin is not None:
                self._stdin.close()
            self._process.close()
        if self._owns_runtime:
            self._runtime.close()
