"""The supervisor: starts worker processes, passes requests to stop on to them, and cleans up after those that die."""

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
from oneshot_queue.telemetry.logging import configure
from oneshot_queue.workers.ipc.console import Console
from oneshot_queue.workers.ipc.journal_format import JournalSlot, Snapshot
from oneshot_queue.workers.ipc.messages import GaveUp, Opened, Recovered, RecoveryDeclined, Stage
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
"""How long a worker may take to exit after it is told to kill its jobs; then it is killed itself."""

ORPHAN_LIMIT_S: Final = 5.0
"""How long to wait for the processes of a dead worker to end before its jobs are recovered anyway."""

IDLE_POLL_S: Final = 1.0
"""Longest time between two passes when nothing happens."""

ORPHAN_POLL_S: Final = 0.02
"""Time between two passes while the processes of a dead worker are being killed."""

BLIND_POLL_S: Final = 0.25
"""Time between two passes while dead workers wait and processes cannot be inspected."""


@dataclass(slots=True, eq=False)
class _Dead:
    """A worker that has died and whose processes are being killed.

    Attributes:
        found: Content of its journal when it died.
    """

    child: Child
    died_s: float
    exit_code: int
    found: Snapshot


class Supervisor:
    """Runs the worker processes until all have exited or were asked to.

    Args:
        program: The command that starts a worker process; the descriptor of its channel is appended.
    """

    def __init__(self, options: WorkerOptions, *, program: Sequence[str] = PROGRAM) -> None:
        self._options = options
        self._program = program
        self._id = uuid.uuid4().hex
        self._console = Console(is_quiet=options.is_quiet)
        self._replicas = [Replica(process, share) for process, share in options.shares()]
        self._dead: list[_Dead] = []
        self._cgroups: set[str] = set()
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
            0 if all workers exited as requested or had nothing left to do, else the code of the first that gave up.
        """
        configure(self._options.log_format, self._options.log_level)
        with ExitStack() as stack:
            self._signals = stack.enter_context(caught_signals())
            stack.enter_context(child_subreaper())
            self._orphans = Orphans()
            stack.callback(self._orphans.close)
            stack.callback(self._recovery_queue.close)
            stack.enter_context(self._selector)
            self._selector.register(self._signals.file, selectors.EVENT_READ)
            self._folder = self._private_folder()
            self._find_leftovers()
            cgroup.remove_abandoned(SystemClock().now_ms() / 1000)
            while self._has_work():
                self._start_workers()
                self._selector.select(self._poll_s())
                self._read_signals()
                self._receive_messages()
                self._reap_workers()
                self._send_stop()
                if self._check_processes() or self._stage is Stage.KILLING:
                    self._queue_recovery()
                self._recovery_queue.reopen()
                self._recovery_queue.assign(self._children(), time.monotonic())
                self._kill_overdue()
            self._check_processes()
            self._remove_cgroups()
        return self._exit_code

    # ------------------------------------------------------------------------------------------------------- the loop

    def _children(self) -> list[Child]:
        return [replica.child for replica in self._replicas if replica.child is not None]

    def _has_work(self) -> bool:
        return bool(self._dead) or any(
            replica.child is not None or replica.due_s is not None for replica in self._replicas
        )

    def _check_processes(self) -> bool:
        """Inspect processes; returns whether that was possible. If it was not, the next pass tries again."""
        try:
            self._fence()
            self._kill_stopped_workers()
            self._orphans.check([child.pid for child in self._children()])
        except OSError as problem:
            if not self._is_blind:
                self._console.warn(f"worker: the supervisor cannot inspect processes, retrying: {problem}")
            self._is_blind = True
        else:
            self._is_blind = False
        return not self._is_blind

    def _poll_s(self) -> float:
        if self._dead:
            return BLIND_POLL_S if self._is_blind else ORPHAN_POLL_S
        due = [replica.due_s for replica in self._replicas if replica.due_s is not None]
        due += [self._kill_at_s] if self._kill_at_s is not None else []
        # At least twice within the margin that exclusive jobs have before their lease expires.
        idle_s = min(IDLE_POLL_S, self._options.settings.lease_s / 12)
        return max(0.0, min(idle_s, *(at_s - time.monotonic() for at_s in due))) if due else idle_s

    def _read_signals(self) -> None:
        for number in self._signals.take():
            if number in REQUESTS_TO_STOP:
                self._advance_to(self._stage.next_request())

    def _advance_to(self, stage: Stage) -> None:
        self._stage = max(self._stage, stage)
        if self._stage is Stage.KILLING and self._kill_at_s is None:
            self._kill_at_s = time.monotonic() + KILL_AFTER_S
        for replica in self._replicas:
            replica.due_s = None

    def _send_stop(self) -> None:
        for child in self._children():
            child.stop(self._stage)

    def _kill_overdue(self) -> None:
        if self._kill_at_s is not None and time.monotonic() >= self._kill_at_s:
            self._kill_at_s = None
            for child in self._children():
                child.kill()

    def _receive_messages(self) -> None:
        for child in self._children():
            for message in child.take_messages():
                match message:
                    case Opened():
                        child.is_open = self._has_opened = True
                    case GaveUp():
                        child.failure = message
                    case Recovered(worker_id):
                        self._recovery_queue.recovered(worker_id)
                    case RecoveryDeclined(worker_id):
                        self._recovery_queue.declined(worker_id, child, time.monotonic())

    # --------------------------------------------------------------------------------------------------- starting

    def _start_workers(self) -> None:
        for replica in self._replicas:
            if replica.due_s is not None and time.monotonic() >= replica.due_s:
                try:
                    replica.child = self._start(replica)
                    replica.due_s = None
                except OSError as problem:
                    delay_s = replica.restarts.delay_s(0.0)
                    replica.due_s = time.monotonic() + max(delay_s, 1.0)
                    self._console.warn(f"worker {replica.options.name} cannot be started, retrying: {problem.strerror}")

    def _start(self, replica: Replica) -> Child:
        if self._folder is not None and not self._folder.exists():
            # Another program has removed it.
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
            self._console.warn(
                f"worker: no state folder, so jobs cannot be recovered if the supervisor is killed: {problem}"
            )
            return None

    def _find_leftovers(self) -> None:
        if self._folder is None:
            return
        try:
            for worker_dir, survivors in take_over_leftovers(self._folder, self._options):
                self._recovery_queue.add(worker_dir, survivors)
        except OSError as problem:
            self._console.warn(
                f"worker: jobs of earlier workers are not recovered before the next start: {problem.strerror}"
            )

    # ---------------------------------------------------------------------------------------------- dead workers

    def _reap_workers(self) -> None:
        for replica in self._replicas:
            child = replica.child
            code = None if child is None else child.exit_code()
            if child is None or code is None:
                continue
            # Its last messages may have arrived after the last pass.
            self._receive_messages()
            self._selector.unregister(child.channel)
            child.channel.close()
            replica.child = None
            self._recovery_queue.unassign(child)
            found = child.journal.snapshot()
            self._dead.append(_Dead(child, time.monotonic(), code, found))
            self._kill_processes_of(child)
            self._replace(replica, child, code, found.jobs_taken)

    def _kill_processes_of(self, child: Child) -> None:
        group = child.assignment.cgroup
        if group is not None:
            cgroup.kill(group, is_local_broker)
            self._cgroups.add(group)
        self._orphans.end_all(child.started)

    def _replace(self, replica: Replica, child: Child, code: int, jobs_taken: int) -> None:
        failure = child.failure
        if failure is not None and (failure.needs_person or not self._has_opened):
            self._give_up(failure.code, f"worker: {failure.text}")
        elif code > 0 and not self._has_opened:
            # It was never ready. Its own messages say why, and a replacement would fail the same way.
            self._give_up(code, f"worker {child.name} exited with code {code} before it was ready")
        elif code != 0 and self._stage is Stage.RUNNING:
            line = replica.schedule_replacement(child, code, jobs_taken)
            if line is not None:
                self._console.warn(line, fields={"worker": child.name})

    def _give_up(self, code: int, text: str) -> None:
        if self._exit_code == 0:
            self._exit_code = code
            self._console.warn(text)
        # No request to stop: running jobs may take as long as they need.
        self._advance_to(Stage.FINISHING)

    def _queue_recovery(self) -> None:
        self._remove_cgroups()
        for dead in list(self._dead):
            if self._orphans.are_ending and time.monotonic() - dead.died_s < ORPHAN_LIMIT_S:
                continue
            self._dead.remove(dead)
            worker_dir = dead.child.worker_dir
            if dead.found.slots or worker_dir.has_spool or (dead.found.leases and dead.exit_code != 0):
                self._recovery_queue.add(worker_dir, self._orphans.resisting)
            else:
                worker_dir.remove()

    def _remove_cgroups(self) -> None:
        self._cgroups = {group for group in self._cgroups if not cgroup.remove(group)}

    def _fence(self) -> None:
        now_s = time.clock_gettime(time.CLOCK_BOOTTIME)
        for child in self._children():
            for slot in fence_overdue(child.journal, now_s):
                line = f"job {slot.job_id}: killed, its lease is about to expire and its worker does not respond"
                self._console.warn(line, fields=_fields(child, slot))
            stuck = child.overdue_starts.check(child.journal, now_s)
            if stuck is not None:
                problem = f"hangs while starting job {stuck.job_id}, whose lease is about to expire"
                line = f"worker {child.name} {problem}; killing the worker"
                self._console.warn(line, fields=_fields(child, stuck))
                child.kill()

    def _kill_stopped_workers(self) -> None:
        children = {child.pid: child for child in self._children()}
        for pid in self._stopped_workers.check(children, time.monotonic()):
            name = children[pid].name
            self._console.warn(
                f"worker {name} was stopped by a signal and not continued; killing it", fields={"worker": name}
            )
            children[pid].kill()


def _fields(child: Child, slot: JournalSlot) -> dict[str, str | int]:
    return {"job": slot.job_id, "queue": slot.queue, "attempt": slot.attempt, "worker": child.name}
