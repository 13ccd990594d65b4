"""The supervisor: starts worker processes, hands on what it is told, and cleans up after those that die."""

from __future__ import annotations

import selectors
import time
import uuid
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from oneshot_queue.clock import SystemClock
from oneshot_queue.errors import BrokerRefused
from oneshot_queue.local_broker import is_local_broker, state_folder
from oneshot_queue.workers.ipc.console import Console
from oneshot_queue.workers.ipc.journal_format import Snapshot
from oneshot_queue.workers.ipc.messages import Decided, Declined, Failed, Opened, Stage
from oneshot_queue.workers.ipc.options import WorkerOptions
from oneshot_queue.workers.processes import cgroup
from oneshot_queue.workers.processes.subreaper import child_subreaper
from oneshot_queue.workers.supervisor.child import PROGRAM, Child
from oneshot_queue.workers.supervisor.fencing import fence_overdue
from oneshot_queue.workers.supervisor.leftovers import take_over_leftovers
from oneshot_queue.workers.supervisor.orphans import Orphans
from oneshot_queue.workers.supervisor.recovery_queue import RecoveryQueue
from oneshot_queue.workers.supervisor.replica import Replica
from oneshot_queue.workers.supervisor.signals import REQUESTS_TO_STOP, CaughtSignals, caught_signals
from oneshot_queue.workers.supervisor.starting import start_child
from oneshot_queue.workers.supervisor.stopped_workers import StoppedWorkers
from oneshot_queue.workers.supervisor.worker_dirs import private_folder

KILL_AFTER_S: Final = 3.0
"""How long a worker that was told to kill has for its last words."""

ENDING_S: Final = 5.0
"""How long the processes of a dead worker may resist until its jobs are decided without their end."""

LOOK_S: Final = 1.0
LOOK_AGAIN_S: Final = 0.02
LOOK_LATER_S: Final = 0.25


@dataclass(slots=True, eq=False)
class _Dead:
    """A worker that has died, while its processes are being ended.

    Attributes:
        found: What its notes said when it died.
    """

    child: Child
    died_s: float
    exit_code: int
    found: Snapshot


class Supervisor:
    """Runs as many worker processes as asked until all have ended, or were told to.

    Args:
        program: What is started for each worker process.
    """

    def __init__(self, options: WorkerOptions, *, program: Sequence[str] = PROGRAM) -> None:
        self._options = options
        self._program = program
        self._id = uuid.uuid4().hex
        self._lines = Console(is_quiet=options.is_quiet)
        self._replicas = [Replica(process, share) for process, share in options.shares()]
        self._dead: list[_Dead] = []
        self._groups: set[str] = set()
        self._recovery_queue = RecoveryQueue()
        self._stopped_workers = StoppedWorkers(options.settings.lease_s)
        self._stage = Stage.RUNNING
        self._kill_at_s: float | None = None
        self._exit_code = 0
        self._has_opened = False
        self._is_blind = False
        self._folder: Path | None = None
        self._selector = selectors.DefaultSelector()
        self._signals: CaughtSignals
        self._orphans: Orphans

    def run(self) -> int:
        """Supervise until nothing is left to do.

        Returns:
            0 when all workers ended as they were asked to, or had nothing left to do; else the code of the one that
            gave up.
        """
        with ExitStack() as stack:
            self._signals = stack.enter_context(caught_signals())
            stack.enter_context(child_subreaper())
            self._orphans = Orphans()
            stack.callback(self._orphans.close)
            stack.callback(self._recovery_queue.close)
            stack.enter_context(self._selector)
            self._selector.register(self._signals.file, selectors.EVENT_READ)
            self._folder = self._private_folder()
            self._take_over()
            cgroup.remove_abandoned(SystemClock().now_ms() / 1000)
            while self._has_work():
                self._start_workers()
                self._selector.select(self._patience_s())
                self._count_requests()
                self._hear_workers()
                self._find_dead()
                self._tell_workers()
                if self._look() or self._stage is Stage.KILLING:
                    self._settle_dead()
                self._recovery_queue.take_up()
                self._recovery_queue.hand_out(self._children(), time.monotonic())
                self._kill_overdue()
            self._look()
            self._remove_groups()
        return self._exit_code

    # ------------------------------------------------------------------------------------------------------- the loop

    def _children(self) -> list[Child]:
        return [replica.child for replica in self._replicas if replica.child is not None]

    def _has_work(self) -> bool:
        return bool(self._dead) or any(
            replica.child is not None or replica.due_s is not None for replica in self._replicas
        )

    def _look(self) -> bool:
        """Look after processes; whether that could be done. Workers go on if there is, say, no descriptor to spare."""
        try:
            self._fence()
            self._end_standstills()
            self._orphans.look([child.pid for child in self._children()])
        except OSError as problem:
            if not self._is_blind:
                self._lines.warn(f"worker: its supervisor cannot look after processes, and tries again: {problem}")
            self._is_blind = True
        else:
            self._is_blind = False
        return not self._is_blind

    def _patience_s(self) -> float:
        if self._dead:
            return LOOK_LATER_S if self._is_blind else LOOK_AGAIN_S
        due = [replica.due_s for replica in self._replicas if replica.due_s is not None]
        due += [self._kill_at_s] if self._kill_at_s is not None else []
        # Twice in the margin that exclusive jobs leave before the end of their lease.
        look_s = min(LOOK_S, self._options.settings.lease_s / 12)
        return max(0.0, min(look_s, *(at_s - time.monotonic() for at_s in due))) if due else look_s

    def _count_requests(self) -> None:
        for number in self._signals.take():
            if number in REQUESTS_TO_STOP:
                self._reach(self._stage.next_request())

    def _reach(self, stage: Stage) -> None:
        self._stage = max(self._stage, stage)
        if self._stage is Stage.KILLING and self._kill_at_s is None:
            self._kill_at_s = time.monotonic() + KILL_AFTER_S
        for replica in self._replicas:
            replica.due_s = None

    def _tell_workers(self) -> None:
        for child in self._children():
            child.stop(self._stage)

    def _kill_overdue(self) -> None:
        if self._kill_at_s is not None and time.monotonic() >= self._kill_at_s:
            self._kill_at_s = None
            for child in self._children():
                child.kill()

    def _hear_workers(self) -> None:
        for child in self._children():
            for message in child.take_messages():
                match message:
                    case Opened():
                        child.is_open = self._has_opened = True
                    case Failed():
                        child.failure = message
                    case Decided(worker_id):
                        self._recovery_queue.decided(worker_id)
                    case Declined(worker_id):
                        self._recovery_queue.declined(worker_id, child, time.monotonic())

    # ---------------------------------------------------------------------------------------------------- their start

    def _start_workers(self) -> None:
        for replica in self._replicas:
            if replica.due_s is not None and time.monotonic() >= replica.due_s:
                try:
                    replica.child = self._started(replica)
                    replica.due_s = None
                except OSError as problem:
                    delay_s = replica.restarts.delay_s(0.0)
                    replica.due_s = time.monotonic() + max(delay_s, 1.0)
                    self._lines.warn(f"worker {replica.options.name} cannot be started now: {problem.strerror}")

    def _started(self, replica: Replica) -> Child:
        if self._folder is not None and not self._folder.exists():
            # Somebody has removed it.
            self._folder = self._private_folder()
        child = start_child(
            replica.options,
            process=replica.process,
            processes=self._options.processes,
            supervisor=self._id,
            workers_folder=self._folder,
            program=self._program,
        )
        self._selector.register(child.channel, selectors.EVENT_READ)
        return child

    def _private_folder(self) -> Path | None:
        try:
            return private_folder(state_folder())
        except (OSError, BrokerRefused) as problem:
            self._lines.warn(f"worker: what it runs is noted in memory only, and ends with this supervisor: {problem}")
            return None

    def _take_over(self) -> None:
        if self._folder is None:
            return
        try:
            for worker_dir, survivors in take_over_leftovers(self._folder, self._options):
                self._recovery_queue.add(worker_dir, survivors)
        except OSError as problem:
            self._lines.warn(f"worker: what earlier workers left waits for the next start: {problem.strerror}")

    # ------------------------------------------------------------------------------------------------------ their end

    def _find_dead(self) -> None:
        for replica in self._replicas:
            child = replica.child
            code = None if child is None else child.exit_code()
            if child is None or code is None:
                continue
            # What it said last may have come after the last look.
            self._hear_workers()
            self._selector.unregister(child.channel)
            child.channel.close()
            replica.child = None
            self._recovery_queue.lost(child)
            found = child.notes.snapshot()
            self._dead.append(_Dead(child, time.monotonic(), code, found))
            self._end_processes(child)
            self._replace(replica, child, code, found.jobs_taken)

    def _end_processes(self, child: Child) -> None:
        group = child.assignment.cgroup
        if group is not None:
            cgroup.end(group, is_local_broker)
            self._groups.add(group)
        self._orphans.end_all(child.started)

    def _replace(self, replica: Replica, child: Child, code: int, jobs_taken: int) -> None:
        failure = child.failure
        if failure is not None and (failure.needs_person or not self._has_opened):
            self._give_up(failure.code, f"worker: {failure.text}")
        elif code > 0 and not self._has_opened:
            # It never got as far as working; its last words are there to read, and would be the same again.
            self._give_up(code, f"worker {child.name} ended with {code} before it began to work")
        elif code != 0 and self._stage is Stage.RUNNING:
            line = replica.refill(child, code, jobs_taken)
            if line is not None:
                self._lines.warn(line)

    def _give_up(self, code: int, text: str) -> None:
        if self._exit_code == 0:
            self._exit_code = code
            self._lines.warn(text)
        # Nobody asked for it: jobs that run have all the time they need.
        self._reach(Stage.FINISHING)

    def _settle_dead(self) -> None:
        self._remove_groups()
        for dead in list(self._dead):
            if self._orphans.are_ending and time.monotonic() - dead.died_s < ENDING_S:
                continue
            self._dead.remove(dead)
            worker_dir = dead.child.worker_dir
            if dead.found.slots or worker_dir.has_spool or (dead.found.leases and dead.exit_code != 0):
                self._recovery_queue.add(worker_dir, self._orphans.resisting)
            else:
                worker_dir.remove()

    def _remove_groups(self) -> None:
        self._groups = {group for group in self._groups if not cgroup.remove(group)}

    def _fence(self) -> None:
        now_s = time.clock_gettime(time.CLOCK_BOOTTIME)
        for child in self._children():
            for slot in fence_overdue(child.notes, now_s):
                self._lines.warn(f"job {slot.job_id}: killed, its lease is about to run out and its worker is silent")
            stuck = child.overdue_starts.look(child.notes, now_s)
            if stuck is not None:
                problem = f"stands still while it starts job {stuck.job_id}, whose lease is about to run out"
                self._lines.warn(f"worker {child.name} {problem}; killing it")
                child.kill()

    def _end_standstills(self) -> None:
        children = {child.pid: child for child in self._children()}
        for pid in self._stopped_workers.look(children, time.monotonic()):
            self._lines.warn(f"worker {children[pid].name} was stopped by a signal and does not go on; killing it")
            children[pid].kill()
