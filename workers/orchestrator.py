"""Run many commands at once, no more than so many at a time, on this machine and without Redis."""

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
    """Runs submitted commands in the order they came, up to ``max_concurrent`` at once; use it with ``async with``.

    Leaving the block waits for every task. Leaving it by an exception or a cancellation kills them, and either way no
    process of theirs is left.

    Args:
        max_concurrent: How many run at once; the usable CPUs if not given.
        observers: Called with every event, synchronously and in order.
        owns_children: This process runs jobs and nothing else: every unknown child that turns up is some job's, and no
            descriptor but 0, 1 and 2 is meant for any.
        spares: Says of a process id that it serves others than the job that happened to start it, and lives on.
        environment: What each process gets before its own variables; everything this process has, if not given.
        heartbeat_s: How often silence and limits are judged; faster while a task's limits ask for it.
        capture: Whether output is kept in memory for ``Outcome.output``.
        survive_s: Seconds after SIGKILL until what still lives is reported as a survivor.
        starts: Where each start is written down before it happens; nowhere if not given.
        reuses_machines: Cheaper by a tenth of a millisecond a task; the ``machine`` of a task that ended is another's.

    Raises:
        InvalidSetting: ``max_concurrent`` or ``heartbeat_s`` makes no sense.
        RuntimeError: On entering: not Linux 5.4 or later, or an event loop that is not asyncio's.
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
            raise InvalidSetting("heartbeat_s", f"{heartbeat_s!r} must be above 0")
        self._clock = clock or SystemClock()
        self._observers = tuple(observers)
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
        self._resting: list[asyncio.Future[OneshotTask]] = []
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
            exits.callback(tree.tend_strays)
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
            self._heartbeat = Heartbeat(self._running.values(), period_s=self._heartbeat_s, on_beat=tree.tend_strays)
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
                # Cancelled while waiting: the same as a body that was cancelled.
                self._stop()
                await self._group.__aexit__(type(interruption), interruption, interruption.__traceback__)
                raise
            self._stop()
            # Only a cancellation is the task group's business; another error of the body leaves as it is, unwrapped.
            if isinstance(error, asyncio.CancelledError):
                return await self._group.__aexit__(kind, error, trace)
            await self._group.__aexit__(None, None, None)
            return None

    def subscribe(self, observer: Observer) -> None:
        """Call this observer with every event too, after those before it.

        Raises:
            RuntimeError: The orchestrator was entered before.
        """
        if self._is_open:
            raise RuntimeError("subscribe observers before the orchestrator is entered")
        self._observers = (*self._observers, observer)

    # ------------------------------------------------------------------------------------------------------- commands

    @property
    def tasks(self) -> Mapping[str, OneshotTask]:
        """The tasks that have not ended, waiting ones included, by id."""
        return MappingProxyType(self._tasks)

    @property
    def free_slots(self) -> int:
        """How many more tasks would begin at once."""
        return max(0, int(self._limiter.available_tokens) - len(self._waiting)) if self._is_open else 0

    async def wait_for_slot(self) -> None:
        """Wait until a submitted task would begin at once.

        Raises:
            RuntimeError: The orchestrator is not open, or was shut down meanwhile.
        """
        await self._until(lambda: self.free_slots > 0 or not self._is_open)
        self._require_open()

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
        """Take a command on; it begins in the next turn of the event loop if a slot is free, else when one is.

        Args:
            task_id: How events name the task; drawn if not given.
            job_id: What the process sees as ``ONESHOT_JOB_ID``, if not ``task_id``.
            token: Proof of the right to run it, also the mark of its processes; random if not given.
            on_end: Called with the task and its outcome after the observers were told.

        Raises:
            InvalidJob: The argv makes no sense.
            ValueError: A task of this id has not ended yet.
            RuntimeError: The orchestrator is not open, or shutting down.
        """
        self._require_open()
        task_id = task_id or new_job_id()
        if task_id in self._tasks:
            raise ValueError(f"task {task_id} has not ended yet; give the new one another id")
        task = OneshotTask(
            task_id, command, attempt=attempt, token=token, job_id=job_id, runtime=self._runtime, on_end=self._on_end
        )
        if on_end is not None:
            self._on_ends[task_id] = on_end
        self._tasks[task_id] = self._waiting[task_id] = task
        self._dispatch()
        return task

    def interrupt(self, task_id: str, *, grace: float | None = None, reason: str | None = None) -> bool:
        """End a task: TERM, after ``grace`` seconds (the job's own if not given) KILL; one that waits ends at once.

        Returns:
            Whether it ends INTERRUPTED; false if no such task is live, or it has just ended by itself.
        """
        task = self._tasks.get(task_id)
        return task is not None and task.interrupt(grace=grace, reason=reason)

    def interrupt_all(self, *, grace: float | None = None, reason: str | None = None) -> None:
        """Interrupt every task there is; new ones may still be submitted."""
        for task in list(self._tasks.values()):
            task.interrupt(grace=grace, reason=reason)

    def kill(self) -> None:
        """SIGKILL the process group of every task now, and end those that wait; their outcomes follow."""
        self.interrupt_all(grace=0.0, reason="killed")

    async def wait_until_idle(self) -> None:
        """Wait until every task has ended."""
        await self._until(lambda: not self._tasks)

    async def shutdown(self, grace: float | None = None, *, reason: str | None = None) -> None:
        """Take no more commands, interrupt all there are, and wait until they have ended."""
        self._is_open = False
        self.interrupt_all(grace=grace, reason=reason)
        self._announce_change()
        await self.wait_until_idle()

    # --------------------------------------------------------------------------------------------------------- inside

    def _require_open(self) -> None:
        if not self._is_open:
            raise RuntimeError("the orchestrator takes no commands: it was not entered, or is shutting down")

    def _dispatch(self) -> None:
        while self._waiting and self._limiter.available_tokens >= 1:
            _, task = self._waiting.popitem(last=False)
            self._limiter.acquire_on_behalf_of_nowait(task)
            while self._resting and self._resting[-1].done():
                del self._resting[-1]  # cancelled
            if self._resting:
                self._resting.pop().set_result(task)
            else:
                self._group.start_soon(self._run_one_by_one, task)

    async def _run_one_by_one(self, task: OneshotTask) -> None:
        # What ran one task runs the next: a new asyncio task for each would cost more than most else here.
        while True:
            await self._run(task)
            rest = asyncio.get_running_loop().create_future()
            self._resting.append(rest)
            task = await rest

    async def _run(self, task: OneshotTask) -> None:
        self._running[task.task_id] = task
        self._heartbeat.hasten(task)
        try:
            await task.run()
            # Its slot stays taken while something of it lives.
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
                task.interrupt(reason="the orchestrator was left")
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
    """Run commands and wait for all of them; the outcomes, with what was written, in the order of the commands.

    One that fails does not stop the others. Other children of the calling process are left alone. Ctrl-C ends every
    command, with its grace (a second one at once), and is raised when none is left.

    Args:
        commands: Argvs, or ``JobSpec``s with limits of their own.
        idle_after: Seconds of silence until an argv counts as IDLE; 0 is never.
        time_limit: Seconds an argv may run; 0 and ``None`` are no limit.
        on_event: Called with every event. What it raises ends all commands, and is raised when none is left.

    Raises:
        InvalidJob: One of the commands makes no sense; none was started.
        InvalidSetting: ``max_concurrent`` makes no sense.
        LoopAlreadyRunning: Called where an event loop runs; use ``AsyncOrchestrator`` there.
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
