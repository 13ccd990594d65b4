"""A worker: the local engine, the services around it, and the order in which they begin and end."""

from __future__ import annotations

import logging
import os
import socket
from contextlib import AsyncExitStack
from pathlib import Path

import anyio

from oneshot_queue.clock import SystemClock
from oneshot_queue.errors import BrokerError, BrokerRefused
from oneshot_queue.local_broker import is_local_broker
from oneshot_queue.store.keys import QueueKeys
from oneshot_queue.store.scripts import load_all
from oneshot_queue.store.transport.connection import REPLY_TIMEOUT_S, AsyncConnection
from oneshot_queue.store.transport.pubsub import Announcements
from oneshot_queue.store.transport.server_facts import eviction_problem
from oneshot_queue.urls import shown_url
from oneshot_queue.workers.ipc.dead_worker import SPOOL
from oneshot_queue.workers.ipc.journal import Journal
from oneshot_queue.workers.ipc.messages import Assignment, Stage
from oneshot_queue.workers.orchestrator import AsyncOrchestrator
from oneshot_queue.workers.processes.environment import allowed_environment
from oneshot_queue.workers.worker.admission import Admission
from oneshot_queue.workers.worker.job_control import JobControl
from oneshot_queue.workers.worker.observer import JobObserver
from oneshot_queue.workers.worker.orders import Orders
from oneshot_queue.workers.worker.outages import OutageLog
from oneshot_queue.workers.worker.report import Report
from oneshot_queue.workers.worker.services.claimer import BELL_S, Claimer
from oneshot_queue.workers.worker.services.crash_recovery import CrashRecovery
from oneshot_queue.workers.worker.services.fencer import Fencer
from oneshot_queue.workers.worker.services.interrupt_listener import InterruptListener
from oneshot_queue.workers.worker.services.lease_keeper import LeaseKeeper
from oneshot_queue.workers.worker.services.presence import Presence
from oneshot_queue.workers.worker.services.promoter import Promoter
from oneshot_queue.workers.worker.services.pruner import Pruner
from oneshot_queue.workers.worker.services.reasserter import Reasserter
from oneshot_queue.workers.worker.services.reconciler import Reconciler
from oneshot_queue.workers.worker.services.recorder import Recorder
from oneshot_queue.workers.worker.services.shipper import Shipper
from oneshot_queue.workers.worker.services.sweeper import Sweeper
from oneshot_queue.workers.worker.shutdown import Shutdown
from oneshot_queue.workers.worker.spool import Spool
from oneshot_queue.workers.worker.spooler import Spooler
from oneshot_queue.workers.worker.state.batch_window import BatchWindow
from oneshot_queue.workers.worker.state.held_jobs import HeldJob, HeldJobs
from oneshot_queue.workers.worker.state.leases import Lease
from oneshot_queue.workers.worker.state.server_clock import ServerClock
from oneshot_queue.workers.worker.state.slots import Slots
from oneshot_queue.workers.worker.state.start_log import JournalStartLog
from oneshot_queue.workers.worker.stop_state import StopState
from oneshot_queue.workers.worker.supervisor_link import SupervisorLink

logger = logging.getLogger(__name__)


class Worker:
    """Claims, runs, records and interrupts, until it is asked to stop and has.

    Args:
        link: To the supervisor.
        notes: Where the supervisor finds what may have been started, should this process die.
        layer: What ends its processes then: ``cgroup`` or ``subreaper``.
    """

    def __init__(
        self,
        assignment: Assignment,
        *,
        link: SupervisorLink,
        notes: Journal,
        layer: str = "subreaper",
        report: Report | None = None,
    ) -> None:
        options = assignment.options
        self.options = options
        self.id = assignment.worker_id
        self.host = socket.gethostname()
        self.name = options.name
        self.link = link
        self.stopping = StopState()
        self._refusal: BrokerError | None = None
        self.held_jobs = HeldJobs()
        self._clock = SystemClock()
        self._server_clock = ServerClock(self._clock)
        self._report = report or Report(is_quiet=options.is_quiet)
        self._keys = [QueueKeys(options.settings.namespace, queue) for queue in options.queues]
        self.leases = [Lease(keys, self.id) for keys in self._keys]
        self.start_log = JournalStartLog(
            notes, self.held_jobs, leases=self.leases, clock=self._clock, lease_s=options.settings.lease_s
        )
        self._commands = AsyncConnection(options.url, tracks_server=True, coalesces=True)
        spool = Spool(None if assignment.folder is None else Path(assignment.folder) / SPOOL)
        self._announcements = Announcements(self._commands)
        self._window = BatchWindow(lambda: self._slots.is_rush)
        self.recorder = Recorder(
            connection=self._commands,
            held_jobs=self.held_jobs,
            clock=self._clock,
            settings=options.settings,
            on_fenced=self._fence,
            spooler=Spooler(spool, self._clock, self._server_clock),
            window=self._window,
        )
        self.shipper = Shipper(
            connection=self._commands,
            clock=self._clock,
            server_clock=self._server_clock,
            on_sent=self.recorder.look_at,
            on_fenced=self._fence,
            on_away=self.recorder.keep_safe,
        )
        observer = JobObserver(
            held_jobs=self.held_jobs,
            recorder=self.recorder,
            shipper=self.shipper,
            clock=self._clock,
            server_clock=self._server_clock,
        )
        self.orchestrator = AsyncOrchestrator(
            max_concurrent=options.concurrency,
            clock=self._clock,
            observers=[observer],
            owns_children=True,
            spares=is_local_broker,
            reuses_machines=True,
            environment=allowed_environment(os.environ),
            capture=False,
            starts=self.start_log,
        )
        self._slots = Slots(self.orchestrator, self._clock, notes, max_jobs=options.max_jobs)
        self._turn = anyio.Lock(fast_acquire=True)
        self.control = JobControl(self.held_jobs, self.orchestrator, self._slots, worker=self.name)
        observer.attach(self._report, self.control.postpone, self.start_log.was_fenced)
        orders = Orders(self.held_jobs, self.control.interrupt, self._clock, patience_s=options.settings.lease_s)
        self.lease_keeper = LeaseKeeper(
            connection=self._commands,
            leases=self.leases,
            held_jobs=self.held_jobs,
            orders=orders,
            interrupt=self.control.interrupt,
            clock=self._clock,
            server_clock=self._server_clock,
            lease_s=options.settings.lease_s,
            on_renewed=self._note_lease,
            on_ended=self._forget_lease,
            on_refused=self._stop_refused,
        )
        self.fencer = Fencer(
            leases=self.leases,
            held_jobs=self.held_jobs,
            clock=self._clock,
            lease_s=options.settings.lease_s,
            give_up=self.control.give_up,
        )
        self.interrupts = InterruptListener(
            connection=self._commands,
            announcements=self._announcements,
            leases=self.leases,
            held_jobs=self.held_jobs,
            orders=orders,
            clock=self._clock,
            remember_s=options.settings.lease_s,
        )
        self.admission = Admission(
            held_jobs=self.held_jobs,
            orchestrator=self.orchestrator,
            control=self.control,
            slots=self._slots,
            recorder=self.recorder,
            interrupts=self.interrupts,
            clock=self._clock,
            worker=self.name,
        )
        self.presence = Presence(
            connection=self._commands,
            namespace=options.settings.namespace,
            held_jobs=self.held_jobs,
            server_clock=self._server_clock,
            worker_id=self.id,
            name=self.name,
            host=self.host,
            pid=os.getpid(),
            queues=options.queues,
            concurrency=self.orchestrator.max_concurrent,
            only_job=options.only_job,
            supervisor=assignment.supervisor,
            process=assignment.process,
            processes=assignment.processes,
            layer=layer,
        )
        self.reasserter = Reasserter(
            connection=self._commands,
            leases=self.leases,
            held_jobs=self.held_jobs,
            clock=self._clock,
            settings=options.settings,
            host=self.host,
            recent=self.recorder.recent,
            on_settled=self._look_at,
            on_fenced=self.control.fence,
        )
        self._commands.on_new_server(self.reasserter.meet_server)
        self._departure = Shutdown(
            stopping=self.stopping,
            held_jobs=self.held_jobs,
            orchestrator=self.orchestrator,
            control=self.control,
            lease_keeper=self.lease_keeper,
            presence=self.presence,
            report=self._report,
        )
        self._claimers: list[Claimer] = []
        self.crash_recovery = CrashRecovery(
            connection=self._commands,
            server_clock=self._server_clock,
            settings=options.settings,
            worker=self.name,
            decided=link.decided,
        )
        link.on_dead_worker = self.crash_recovery.take
        self.sweeper = Sweeper(
            connection=self._commands,
            leases=self.leases,
            clock=self._clock,
            settings=options.settings,
            worker=self.name,
        )
        self.promoter = Promoter(
            connection=self._commands,
            queues=self._keys,
            settings=options.settings,
            is_in_charge=self.sweeper.is_in_charge,
        )
        self.reconciler = Reconciler(
            connection=self._commands,
            leases=self.leases,
            held_jobs=self.held_jobs,
            slots=self._slots,
            turn=self._turn,
            worker=self.name,
            settings=options.settings,
            admit=self.admission.admit,
        )
        self.pruner = Pruner(connection=self._commands, queues=self._keys, settings=options.settings)

    async def run(self) -> None:
        """Work until stopped, or in burst mode until nothing is left to do.

        Raises:
            BrokerError: The broker was out of reach, or refused, at the start.
        """
        async with AsyncExitStack() as stack:
            stack.enter_context(self.stopping.catching_signals())
            load_all()
            stack.push_async_callback(self._commands.aclose)
            await self.lease_keeper.register()
            # However it ends: a worker that is gone must not look alive.
            stack.push_async_callback(self._departure.deregister)
            self._check_server()
            # What fails before is said by whoever ends for it.
            self._commands.on_exchange(OutageLog(self._clock).note)
            await self.presence.run_once()
            self.link.opened()
            self._report.opened(
                name=self.name,
                broker=shown_url(self.options.url),
                queues=self.options.queues,
                slots=self.orchestrator.max_concurrent,
            )
            async with anyio.create_task_group() as services:
                services.start_soon(self.stopping.count_signals)
                services.start_soon(self.link.run, self.stopping)
                services.start_soon(self._abandon_claims_when_killing)
                for service in (
                    self._announcements,
                    self.interrupts,
                    self.lease_keeper,
                    self.fencer,
                    self.sweeper,
                    self.promoter,
                    self.reasserter,
                    self.reconciler,
                    self.crash_recovery,
                    self.presence,
                    self.recorder,
                    self.shipper,
                    self.pruner,
                ):
                    services.start_soon(service.run)
                # The engine ends first: what it still has to say, the services still record.
                async with self.orchestrator:
                    await self._claim_until_stopped(stack)
                    self.presence.drain()
                    await self._departure.end_jobs(self.options.drain_timeout_s)
                await self._departure.flush()
                services.cancel_scope.cancel()
        if self._refusal is not None:
            raise self._refusal

    def _check_server(self) -> None:
        facts = self._commands.server
        problem = None if facts is None else eviction_problem(facts)
        if problem is None:
            return
        if not self.options.allows_eviction:
            advice = "or, if jobs may be lost: --allow-eviction"
            raise BrokerRefused(shown_url(self.options.url), problem, advice, needs_person=True)
        self._report.warn(f"worker: {problem}")

    def _stop_refused(self, refusal: BrokerError) -> None:
        """The broker refuses, and will until a person changes that: end when the running jobs have."""
        if self._refusal is not None:
            return
        logger.error("taking no more jobs: %s", refusal)
        self._refusal = refusal
        self.stopping.reach(Stage.FINISHING)

    async def _claim_until_stopped(self, stack: AsyncExitStack) -> None:
        async with anyio.create_task_group() as claiming:

            async def stop_when_asked() -> None:
                await self.stopping.wait_for(Stage.FINISHING)
                claiming.cancel_scope.cancel()

            async def claim_all() -> None:
                async with anyio.create_task_group() as claimers:
                    for lease in self.leases:
                        bell = AsyncConnection(self.options.url, reply_timeout_s=BELL_S + REPLY_TIMEOUT_S)
                        stack.push_async_callback(bell.aclose)
                        claimer = self._claimer(lease, bell)
                        self._claimers.append(claimer)
                        claimers.start_soon(claimer.run)
                claiming.cancel_scope.cancel()

            async def stop_when_used_up() -> None:
                await self._slots.wait_until_used_up()
                self.presence.drain()
                await self.orchestrator.wait_until_idle()
                claiming.cancel_scope.cancel()

            claiming.start_soon(stop_when_asked)
            claiming.start_soon(stop_when_used_up)
            claiming.start_soon(claim_all)

    async def _abandon_claims_when_killing(self) -> None:
        await self.stopping.wait_for(Stage.KILLING)
        for claimer in self._claimers:
            claimer.abandon()

    def _claimer(self, lease: Lease, bell: AsyncConnection) -> Claimer:
        return Claimer(
            commands=self._commands,
            bell=bell,
            lease=lease,
            slots=self._slots,
            held_jobs=self.held_jobs,
            turn=self._turn,
            window=self._window,
            worker=self.name,
            host=self.host,
            settings=self.options.settings,
            admit=self.admission.admit,
            on_lost=self.lease_keeper.replace,
            run_id_of=self.reasserter.run_id_of,
            only_job=self.options.only_job,
            is_burst=self.options.is_burst,
        )

    def _look_at(self, held: HeldJob) -> None:
        self.shipper.look_at(held)
        self.recorder.look_at(held)

    def _fence(self, held: HeldJob) -> None:
        self.control.fence(held)

    def _note_lease(self, lease: Lease) -> None:
        self.start_log.lease_renewed(self.leases.index(lease), lease, self.options.settings.lease_s)

    def _forget_lease(self, lease: Lease) -> None:
        self.start_log.lease_ended(self.leases.index(lease))
