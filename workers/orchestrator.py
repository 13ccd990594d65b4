"""Runs many commands on this machine, with a limit on how many run at once. It needs no Redis."""

from __future__ import annotations

import asyncio
import os
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from types import MappingProxyType, TracebackType
from typing import Self

import anyio
import anyio.abc

from oneshot_queue.clock import Clock, SystemClock
from oneshot_queue.errors import InvalidSetting, LoopAlreadyRunning
from oneshot_queue.jobs import new_job_id
from oneshot_queue.outcomes import Outcome
from oneshot_queue.spec import JobSpec
from oneshot_queue.task_events import Observer
from oneshot_queue.workers.engine.batch import Batch, handles_ctrl_c
from oneshot_queue.workers.engine.heartbeat import Heartbeat
from oneshot_queue.workers.engine.requirements import (
    has_running_loop,
    require_asyncio,
    require_pidfds,
    usable_concurrency,
)
from oneshot_queue.workers.engine.runtime import NoStartLog, Runtime, StartLog, guarded
from oneshot_queue.workers.processes.process_tree import ProcessTree
from oneshot_queue.workers.processes.readiness import Readiness
from oneshot_queue.workers.processes.spawning import seal_descriptors
from oneshot_queue.workers.processes.subreaper import child_statuses, child_subreaper
from oneshot_queue.workers.task import OnEnd, OneshotTask


class AsyncOrchestrator:
    """Runs submitted commands in order, up to ``max_concurrent`` at once.

    Use it with ``async with``::

        from oneshot_queue import AsyncOrchestrator

        async with AsyncOrchestrator(max_concurrent=4) as orchestrator:
            tasks = [orchestrator.submit(["convert", name, f"{name}.png"]) for name in names]
            outcomes = [await task.wait() for task in tasks]

    The end of the block waits for every task. An exception or a cancellation in the block kills all tasks. Either way,
    no process of a task is left afterwards.

    Args:
        max_concurrent: How many commands run at once. The default is one per usable CPU.
        clock: Source of time for silence and time limits.
        observers: Called with every event, synchronously and in this order. ``subscribe`` adds more.
        owns_children: Whether this process only runs jobs. Then every unknown child belongs to a job, and no job
            inherits a descriptor other than 0, 1 and 2.
        spares: Called with the process id of a stray. If true, the stray also serves others, and is not ended.
        environment: Variables of every process, overridden by those of the job. The default is this process's own.
        heartbeat_s: Seconds between two checks of silence and limits; shorter while a task has a shorter limit.
        capture: Whether output is kept in memory for ``Outcome.output``.
        survive_s: Seconds after SIGKILL until a live process is reported as a survivor.
        starts: Records each start before it happens. The default records nothing.
        reuses_machines: Whether state machines are reused, which saves 0.1 ms per task. The ``machine`` of an ended
            task may then belong to another task.

    Raises:
        InvalidSetting: ``max_concurrent`` or ``heartbeat_s`` is invalid.
        RuntimeError: On entry, if the kernel is older than Linux 5.4 or the event loop is not asyncio's.
    """

    def __init__(
        self,
        *,
        max_concurrent: int | None = None,
        clock: Clock | None = None,
        observers: Iterable[Observer] = (),
        owns_children: bool = False,
        spares: Callable[[int], bool] = lambda _: False,
        environment: Mapping[str, str] | None = None,
        heartbeat_s: float = 1.0,
        capture: bool = True,
        survive_s: float = 30.0,
        starts: StartLog | None = None,
        reuses_machines: bool = False,
    ) -> None:
        self.max_concurrent = usable_concurrency(max_concurrent)
        if not heartbeat_s > 0:
            raise InvalidSetting("heartbeat_s", f"{heartbeat_s!r} must be greater than 0")
        self._clock = clock or SystemClock()
        self._observers = list(observers)
        self._owns_children = owns_children
        self._spares = spares
        self._environment = dict(os.environ if environment is None else environment)
        self._heartbeat_s = heartbeat_s
        self._capture = capture
        self._survive_s = survive_s
        self._starts = starts or NoStartLog()
        self._reuses_machines = reuses_machines
        self._tasks: dict[str, OneshotTask] = {}
        self._waiting: OrderedDict[str, OneshotTask] = OrderedDict()
        self._on_ends: dict[str, OnEnd] = {}
        self._running: dict[str, OneshotTask] = {}
        self._idle_runners: list[asyncio.Future[OneshotTask]] = []
        self._is_open = False
        self._changed = asyncio.Event()
        self._exits = ExitStack()
        self._group: anyio.abc.TaskGroup
        self._limiter: anyio.CapacityLimiter
        self._runtime: Runtime
        self._heartbeat: Heartbeat

    async def __aenter__(self) -> Self:
        require_asyncio()
        require_pidfds()
        with ExitStack() as exits:
            exits.enter_context(child_statuses())
            exits.enter_context(child_subreaper())
            if self._owns_children:
                seal_descriptors()
            tree = ProcessTree(owns_children=self._owns_children, spares=self._spares)
            exits.callback(tree.close)
            exits.callback(tree.clean_up_strays)
            readiness = Readiness()
            exits.callback(readiness.close)
            self._runtime = Runtime(
                clock=self._clock,
                observers=self._observers,
                environment=self._environment,
                capture=self._capture,
                survive_s=self._survive_s,
                reuses_machines=self._reuses_machines,
                is_sealed=self._owns_children,
                tree=tree,
                readiness=readiness,
                starts=self._starts,
            )
            self._limiter = anyio.CapacityLimiter(self.max_concurrent)
            self._heartbeat = Heartbeat(
                self._running.values(), period_s=self._heartbeat_s, on_beat=tree.clean_up_strays
            )
            self._group = anyio.create_task_group()
            await self._group.__aenter__()
            self._group.start_soon(self._heartbeat.run)
            self._exits = exits.pop_all()
        self._is_open = True
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        with self._exits:
            try:
                if kind is None:
                    await self.wait_until_idle()
            except BaseException as interruption:
                # Cancelled while waiting: handle it like a cancellation of the body.
                self._stop()
                await self._group.__aexit__(type(interruption), interruption, interruption.__traceback__)
                raise
            self._stop()
            # Pass only a cancellation to the task group: it would wrap any other error in an exception group.
            if isinstance(error, asyncio.CancelledError):
                return await self._group.__aexit__(kind, error, trace)
            await self._group.__aexit__(None, None, None)
            return None

    # ------------------------------------------------------------------------------------------------------- commands

    @property
    def tasks(self) -> Mapping[str, OneshotTask]:
        """The tasks that have not ended, including waiting ones, by id."""
        return MappingProxyType(self._tasks)

    @property
    def free_slots(self) -> int:
        """How many more tasks would start immediately."""
        return max(0, int(self._limiter.available_tokens) - len(self._waiting)) if self._is_open else 0

    async def wait_for_slot(self) -> None:
        """Wait until a submitted task would start immediately.

        Raises:
            RuntimeError: The orchestrator is not open, or was shut down while this waited.
        """
        await self._until(lambda: self.free_slots > 0 or not self._is_open)
        self._require_open()

    def subscribe(self, observer: Observer) -> None:
        """Add an observer, which is called after the existing ones.

        An observer is called synchronously with every event, in order. It must not block. If it raises, the error is
        logged, and the task and the other observers go on.
        """
        self._observers.append(observer)

    def submit(
        self,
        command: JobSpec | Sequence[str | bytes],
        *,
        task_id: str | None = None,
        job_id: str | None = None,
        attempt: int = 1,
        token: str | None = None,
        on_end: OnEnd | None = None,
    ) -> OneshotTask:
        """Accept a command. It starts in the next turn of the event loop, or as soon as a slot is free.

        Args:
            command: An argv, or a ``JobSpec`` with its own limits.
            task_id: Name of the task in events. Random if not given.
            job_id: ``ONESHOT_JOB_ID`` in the process. The default is ``task_id``.
            attempt: Number of the attempt; the first is 1.
            token: Proof of the right to run the job, and the cookie of its processes. Random if not given.
            on_end: Called with the task and its outcome, after the observers.

        Raises:
            InvalidJob: The argv is invalid.
            ValueError: A task with this id has not ended yet.
            RuntimeError: The orchestrator is not open, or is shutting down.
        """
        self._require_open()
        task_id = task_id or new_job_id()
        if task_id in self._tasks:
            raise ValueError(f"task {task_id} has not ended yet; use another task_id")
        task = OneshotTask(
            task_id, command, attempt=attempt, token=token, job_id=job_id, runtime=self._runtime, on_end=self._on_end
        )
        if on_end is not None:
            self._on_ends[task_id] = on_end
        self._tasks[task_id] = self._waiting[task_id] = task
        self._dispatch()
        return task

    def interrupt(self, task_id: str, *, grace: float | None = None, reason: str | None = None) -> bool:
        """Interrupt a task: send TERM, and KILL after the grace period. A waiting task ends immediately.

        Args:
            task_id: Id of the task.
            grace: Seconds between TERM and KILL, instead of the job's own; 0 kills at once.
            reason: Text for people, passed on in ``InterruptStarted``.

        Returns:
            Whether the task ends INTERRUPTED. False if there is no such task, or if its command has just exited.
        """
        task = self._tasks.get(task_id)
        return task is not None and task.interrupt(grace=grace, reason=reason)

    def interrupt_all(self, *, grace: float | None = None, reason: str | None = None) -> None:
        """Interrupt every task. New ones can still be submitted."""
        for task in list(self._tasks.values()):
            task.interrupt(grace=grace, reason=reason)

    def kill(self) -> None:
        """Kill every running task and end every waiting one. The outcomes follow."""
        self.interrupt_all(grace=0.0, reason="killed")

    async def wait_until_idle(self) -> None:
        """Wait until every task has ended."""
        await self._until(lambda: not self._tasks)

    async def shutdown(self, grace: float | None = None, *, reason: str | None = None) -> None:
        """Accept no more commands, interrupt every task, and wait until all have ended."""
        self._is_open = False
        self.interrupt_all(grace=grace, reason=reason)
        self._announce_change()
        await self.wait_until_idle()

    # --------------------------------------------------------------------------------------------------------- internal

    def _require_open(self) -> None:
        if not self._is_open:
            raise RuntimeError("the orchestrator accepts no commands: it was not entered, or is shutting down")

    def _dispatch(self) -> None:
        while self._waiting and self._limiter.available_tokens >= 1:
            _, task = self._waiting.popitem(last=False)
            self._limiter.acquire_on_behalf_of_nowait(task)
            while self._idle_runners and self._idle_runners[-1].done():
                del self._idle_runners[-1]  # that runner was cancelled
            if self._idle_runners:
                self._idle_runners.pop().set_result(task)
            else:
                self._group.start_soon(self._run_one_by_one, task)

    async def _run_one_by_one(self, task: OneshotTask) -> None:
        # One asyncio task runs many commands in turn: a new one per command would be a large part of its cost.
        while True:
            await self._run(task)
            next_task = asyncio.get_running_loop().create_future()
            self._idle_runners.append(next_task)
            task = await next_task

    async def _run(self, task: OneshotTask) -> None:
        self._running[task.task_id] = task
        self._heartbeat.hasten(task)
        try:
            await task.run()
            # The slot stays occupied while a process of the task lives.
            await task.outlast_survivors()
            self._runtime.give_back(task.machine)
        finally:
            if self._running.get(task.task_id) is task:
                del self._running[task.task_id]
            self._limiter.release_on_behalf_of(task)
            self._dispatch()
            self._announce_change()

    def _on_end(self, task: OneshotTask, outcome: Outcome) -> None:
        del self._tasks[task.task_id]
        self._waiting.pop(task.task_id, None)
        on_end = self._on_ends.pop(task.task_id, None)
        if on_end is not None:
            guarded(on_end, task, outcome)
        self._announce_change()

    def _stop(self) -> None:
        self._is_open = False
        for task in list(self._tasks.values()):
            if task.pid is None:
                task.interrupt(reason="the orchestrator was closed")
        self._group.cancel_scope.cancel()

    def _announce_change(self) -> None:
        self._changed.set()

    async def _until(self, is_true: Callable[[], bool]) -> None:
        while not is_true():
            self._changed.clear()
            await self._changed.wait()


def run_commands(
    commands: Iterable[JobSpec | Sequence[str | bytes]],
    *,
    max_concurrent: int | None = None,
    idle_after: float | None = 60,
    time_limit: float | None = None,
    on_event: Observer | None = None,
) -> list[Outcome]:
    """Run commands, wait for all of them, and return their outcomes and output in the order of the commands.

    ::

        from oneshot_queue import run_commands

        for outcome in run_commands([["make", "lint"], ["make", "test"]], max_concurrent=2):
            print(outcome.state, outcome.output.stdout.decode(errors="replace"))

    A command that fails does not stop the others. Other children of the calling process are left alone. Ctrl-C
    interrupts every command, a second Ctrl-C kills them, and ``KeyboardInterrupt`` is raised when all have ended.

    Args:
        commands: Argvs, or ``JobSpec``s with their own limits.
        max_concurrent: How many commands run at once. The default is one per usable CPU.
        idle_after: Seconds without output until an argv counts as IDLE; 0 disables it.
        time_limit: Seconds an argv may run; 0 or ``None`` means no limit.
        on_event: Called with every event. If it raises, all commands are killed, and the error is raised when all have
            ended.

    Returns:
        One outcome per command, with the captured output.

    Raises:
        InvalidJob: One of the commands is invalid. None was started.
        InvalidSetting: ``max_concurrent`` is invalid.
        LoopAlreadyRunning: An event loop is running in this thread. Use ``AsyncOrchestrator`` there.
    """
    if has_running_loop():
        raise LoopAlreadyRunning("run_commands()", "use `async with AsyncOrchestrator()` and await its tasks")
    specs = [
        command if isinstance(command, JobSpec) else JobSpec(command, idle_after=idle_after, time_limit=time_limit)
        for command in commands
    ]
    batch = Batch(specs, on_event)
    orchestrator = AsyncOrchestrator(max_concurrent=max_concurrent, observers=[batch.observe])
    asyncio.run(batch.run(orchestrator, ends_on_ctrl_c=handles_ctrl_c()))
    return batch.result()
