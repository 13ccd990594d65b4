"""Notes down which held jobs may have been started: the engine says when, the holdings say whose they are."""

from __future__ import annotations

from collections.abc import Sequence

from oneshot_queue.clock import Clock
from oneshot_queue.workers.engine.runtime import StartForbidden
from oneshot_queue.workers.ipc.journal import Journal
from oneshot_queue.workers.ipc.lease_margin import margin_s
from oneshot_queue.workers.processes.procfs import ticks_now
from oneshot_queue.workers.worker.state.held_jobs import HeldJob, HeldJobs
from oneshot_queue.workers.worker.state.leases import Lease


class JournalStartLog:
    """The engine's ``StartLog``, written where the supervisor finds them when this process is dead.

    Nothing begins under a lease that may have been given away: a worker that stood still since the claim, or whose
    claim was answered late, starts nothing that others have decided meanwhile. (One command may still begin: if the
    standstill falls right between this look and the start itself. It is ended as soon as the loss is noticed. Where the
    job is exclusive, the supervisor ends the worker first.)

    Args:
        lease_s: Length of a lease.
    """

    def __init__(
        self, notes: Journal, held_jobs: HeldJobs, *, leases: Sequence[Lease], clock: Clock, lease_s: float
    ) -> None:
        self._notes = notes
        self._held_jobs = held_jobs
        self._by_keys = {lease.keys: lease for lease in leases}
        self._clock = clock
        self._good_s = lease_s - margin_s(lease_s)
        self._slots: dict[str, int] = {}
        self._leases: dict[int, str] = {}
        held_jobs.on_removed = self._forget
        held_jobs.on_handed_over = self._handed_over

    def begin(self, task_id: str) -> None:
        """A task's command is about to be started.

        Raises:
            StartForbidden: The lease it was claimed under is over, or as good as.
        """
        held = self._held_jobs.by_task(task_id)
        if held is not None:
            self._check_lease(held)
        if held is not None and task_id not in self._slots:
            self._slots[task_id] = self._notes.reserve(
                queue=held.keys.queue,
                job_id=held.job_id,
                attempt=held.attempt,
                token=held.token,
                lease_id=held.holder.lease,
                exclusive=held.is_exclusive,
                first_tick=ticks_now(),
            )
            if held.token != held.holder.token:
                self._handed_over(held)

    def withdraw(self, task_id: str) -> None:
        """Nothing was started after all."""
        slot = self._slots.pop(task_id, None)
        if slot is not None:
            self._notes.free(slot)

    def started(self, task_id: str, pid: int, first_tick: int, last_tick: int) -> None:
        """It was started."""
        slot = self._slots.get(task_id)
        if slot is not None:
            self._notes.started(slot, pid, first_tick, last_tick)

    def exited(self, task_id: str, exit_code: int | None) -> None:
        """Its process was reaped."""
        slot = self._slots.get(task_id)
        if slot is not None:
            self._notes.exited(slot, exit_code)

    def lease_renewed(self, index: int, lease: Lease, lease_s: float) -> None:
        """The worker's lease of this number has begun, or was renewed."""
        if self._leases.get(index) != lease.id:
            self._leases[index] = lease.id
            self._notes.set_lease(index, lease.keys.queue, lease.id, lease_s)
        self._notes.renewed(index, lease.renewed_s)

    def lease_ended(self, index: int) -> None:
        """The worker's lease of this number has ended, and holds no job."""
        self._leases.pop(index, None)
        self._notes.clear_lease(index)

    def was_fenced(self, held: HeldJob) -> bool:
        """Whether the supervisor ended this job because its lease was about to run out."""
        slot = self._slots.get(held.task_id)
        return slot is not None and self._notes.was_fenced(slot)

    def _check_lease(self, held: HeldJob) -> None:
        lease = self._by_keys[held.keys]
        if lease.id != held.holder.lease or self._clock.boottime() - lease.renewed_s >= self._good_s:
            raise StartForbidden("its lease was not renewed in time")

    def _handed_over(self, held: HeldJob) -> None:
        slot = self._slots.get(held.task_id)
        if slot is not None:
            self._notes.handed_over(slot, held.holder.token, held.holder.lease)

    def _forget(self, held: HeldJob) -> None:
        self.withdraw(held.task_id)
