"""Records which held jobs may have been started, for the supervisor to read if this process dies."""

from __future__ import annotations

from collections.abc import Sequence

from oneshot_queue.clock import Clock
from oneshot_queue.workers.engine.runtime import StartForbidden
from oneshot_queue.workers.ipc.journal import Journal
from oneshot_queue.workers.ipc.lease_margin import margin_s
from oneshot_queue.workers.processes.procfs import ticks_now
from oneshot_queue.workers.worker.state.held_jobs import HeldJob
from oneshot_queue.workers.worker.state.leases import Lease


class JournalStartLog:
    """The engine's ``StartLog``, written to the journal that this process shares with its supervisor.

    No job starts under a lease that may have expired. So a worker that was frozen after the claim, or whose claim was
    answered late, starts no job that other workers have settled meanwhile. One case remains: if the worker is frozen
    between this check and the start itself, the command starts, and is ended when the loss of the lease is noticed. If
    the job is exclusive, the supervisor kills the worker first.

    Args:
        lease_s: Length of a lease, in seconds.
    """

    def __init__(self, journal: Journal, leases: Sequence[Lease], clock: Clock, *, lease_s: float) -> None:
        self._journal = journal
        self._by_keys = {lease.keys: lease for lease in leases}
        self._index_of = {lease.keys: index for index, lease in enumerate(leases)}
        self._clock = clock
        self._lease_s = lease_s
        self._valid_s = lease_s - margin_s(lease_s)
        self._held: dict[str, HeldJob] = {}
        self._slots: dict[str, int] = {}
        self._journaled: dict[int, str] = {}

    # ----------------------------------------------------------------------------------------------- from the held jobs

    def hold(self, held: HeldJob) -> None:
        """Add a job that is held from now on and may be started."""
        self._held[held.task_id] = held

    def hand_over(self, held: HeldJob) -> None:
        """Record that a job is held under another token from now on."""
        slot = self._slots.get(held.task_id)
        if slot is not None:
            self._journal.handed_over(slot, held.holder.token, held.holder.lease)

    def release(self, held: HeldJob) -> None:
        """Remove a job that is no longer held."""
        del self._held[held.task_id]
        self.withdraw(held.task_id)

    # -------------------------------------------------------------------------------------------------- from the engine

    def begin(self, task_id: str) -> None:
        """Record that a task's command is about to be started.

        Raises:
            StartForbidden: The lease under which the job was claimed has expired or is about to.
        """
        held = self._held.get(task_id)
        if held is None:
            return
        self._check_lease(held)
        if task_id not in self._slots:
            self._slots[task_id] = self._journal.reserve(
                queue=held.keys.queue,
                job_id=held.job_id,
                attempt=held.attempt,
                token=held.token,
                lease_id=held.holder.lease,
                exclusive=held.is_exclusive,
                first_tick=ticks_now(),
            )
            if held.token != held.holder.token:
                self.hand_over(held)

    def withdraw(self, task_id: str) -> None:
        """Record that the command was not started after all."""
        slot = self._slots.pop(task_id, None)
        if slot is not None:
            self._journal.free(slot)

    def started(self, task_id: str, pid: int, first_tick: int, last_tick: int) -> None:
        """Record the process of the command, and the clock ticks since boot between which it was started."""
        slot = self._slots.get(task_id)
        if slot is not None:
            self._journal.started(slot, pid, first_tick, last_tick)

    def exited(self, task_id: str, exit_code: int | None) -> None:
        """Record that the process was reaped: its exit code, the negative signal number, or ``None`` if unknown."""
        slot = self._slots.get(task_id)
        if slot is not None:
            self._journal.exited(slot, exit_code)

    # --------------------------------------------------------------------------------------- leases, and the supervisor

    def lease_renewed(self, lease: Lease) -> None:
        """Record that a lease has begun or was renewed."""
        index = self._index_of[lease.keys]
        if self._journaled.get(index) != lease.id:
            self._journaled[index] = lease.id
            self._journal.set_lease(index, lease.keys.queue, lease.id, self._lease_s)
        self._journal.renewed(index, lease.renewed_s)

    def lease_ended(self, lease: Lease) -> None:
        """Record that a lease has ended and holds no job."""
        index = self._index_of[lease.keys]
        self._journaled.pop(index, None)
        self._journal.clear_lease(index)

    def was_fenced(self, held: HeldJob) -> bool:
        """Whether the supervisor has killed this job because its lease was about to expire."""
        slot = self._slots.get(held.task_id)
        return slot is not None and self._journal.was_fenced(slot)

    def _check_lease(self, held: HeldJob) -> None:
        lease = self._by_keys[held.keys]
        if lease.id != held.holder.lease or self._clock.boottime() - lease.renewed_s >= self._valid_s:
            raise StartForbidden("its lease was not renewed in time")
