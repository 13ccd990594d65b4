"""Builds a worker bottom-up: each part is given the parts it depends on."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

import anyio

from oneshot_queue.clock import SystemClock
from oneshot_queue.local_broker import is_local_broker
from oneshot_queue.store.keys import QueueKeys
from oneshot_queue.store.transport.connection import REPLY_TIMEOUT_S, AsyncConnection
from oneshot_queue.store.transport.pubsub import Announcements
from oneshot_queue.workers.ipc.dead_worker import SPOOL
from oneshot_queue.workers.ipc.journal import Journal
from oneshot_queue.workers.ipc.messages import Assignment
from oneshot_queue.workers.orchestrator import AsyncOrchestrator
from oneshot_queue.workers.processes.environment import allowed_environment
from oneshot_queue.workers.worker.admission import Admission
from oneshot_queue.workers.worker.job_control import JobControl
from oneshot_queue.workers.worker.observer import JobObserver
from oneshot_queue.workers.worker.orders import Orders
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
from oneshot_queue.workers.worker.session import Identity, Session
from oneshot_queue.workers.worker.shutdown import Shutdown
from oneshot_queue.workers.worker.spool import Spool
from oneshot_queue.workers.worker.spooler import Spooler
from oneshot_queue.workers.worker.state.batch_window import BatchWindow
from oneshot_queue.workers.worker.state.early_interrupts import EarlyInterrupts
from oneshot_queue.workers.worker.state.held_jobs import HeldJobs
from oneshot_queue.workers.worker.state.leases import Lease
from oneshot_queue.workers.worker.state.server_clock import ServerClock
from oneshot_queue.workers.worker.state.slots import Slots
from oneshot_queue.workers.worker.state.start_log import JournalStartLog
from oneshot_queue.workers.worker.stop_state import StopState
from oneshot_queue.workers.worker.supervisor_link import SupervisorLink
from oneshot_queue.workers.worker.worker import Worker


def build_worker(
    assignment: Assignment, *, link: SupervisorLink, journal: Journal, containment: Literal["cgroup", "subreaper"]
) -> Worker:
    """Build a worker.

    Args:
        journal: Tells the supervisor which jobs may have been started, if this process dies.
        containment: How the supervisor ends this process' descendants in that case.
    """
    options = assignment.options
    session = open_session(assignment)
    stopping = StopState()
    report = Report(is_quiet=options.is_quiet)

    starts = JournalStartLog(journal, session.leases, session.clock, lease_s=session.settings.lease_s)
    held_jobs = HeldJobs(starts)
    engine = AsyncOrchestrator(
        max_concurrent=options.concurrency,
        clock=session.clock,
        owns_children=True,
        spares=is_local_broker,
        reuses_machines=True,
        environment=allowed_environment(os.environ),
        capture=False,
        starts=starts,
    )
    slots = Slots(engine, session.clock, journal, max_jobs=options.max_jobs)
    window = BatchWindow(slots)
    control = JobControl(held_jobs, engine, slots, session.identity)
    early = EarlyInterrupts(session.clock, remember_s=session.settings.lease_s)
    orders = Orders(session, held_jobs, control, early)
    spool = Spool(None if assignment.folder is None else Path(assignment.folder) / SPOOL)

    recorder = Recorder(session, held_jobs, control=control, spooler=Spooler(session, spool), window=window)
    shipper = Shipper(session, recorder=recorder, control=control)
    lease_keeper = LeaseKeeper(session, held_jobs, orders=orders, control=control, log=starts, stopping=stopping)
    presence = Presence(session, held_jobs, assignment, concurrency=engine.max_concurrent, containment=containment)
    reasserter = Reasserter(session, held_jobs, recorder=recorder, shipper=shipper, control=control)
    sweeper = Sweeper(session)
    admission = Admission(
        session,
        held_jobs,
        engine,
        control=control,
        slots=slots,
        recorder=recorder,
        orders=orders,
        early=early,
    )
    turn = anyio.Lock(fast_acquire=True)
    claimers = [
        Claimer(
            session,
            lease,
            held_jobs,
            bell=AsyncConnection(options.url, reply_timeout_s=BELL_S + REPLY_TIMEOUT_S),
            slots=slots,
            turn=turn,
            window=window,
            admission=admission,
            lease_keeper=lease_keeper,
            servers=reasserter,
            only_job=options.only_job,
            is_burst=options.is_burst,
        )
        for lease in session.leases
    ]
    services = (
        session.announcements,
        InterruptListener(session, held_jobs, orders, early),
        lease_keeper,
        Fencer(session, held_jobs, control),
        sweeper,
        Promoter(session, sweeper),
        reasserter,
        Reconciler(session, held_jobs, slots=slots, turn=turn, admission=admission),
        CrashRecovery(session, link.dead_workers, link),
        presence,
        recorder,
        shipper,
        Pruner(session),
    )
    shutdown = Shutdown(
        stopping=stopping,
        held_jobs=held_jobs,
        engine=engine,
        control=control,
        leases=lease_keeper,
        presence=presence,
        report=report,
    )
    session.connection.on_new_server(reasserter.meet_server)
    engine.subscribe(
        JobObserver(
            session,
            held_jobs,
            starts=starts,
            control=control,
            recorder=recorder,
            shipper=shipper,
            report=report,
        )
    )
    return Worker(
        session,
        options,
        link=link,
        stopping=stopping,
        engine=engine,
        slots=slots,
        lease_keeper=lease_keeper,
        presence=presence,
        claimers=claimers,
        services=services,
        shutdown=shutdown,
        report=report,
    )


def open_session(assignment: Assignment) -> Session:
    """Create the session of an assigned worker. It does not connect yet."""
    options = assignment.options
    clock = SystemClock()
    connection = AsyncConnection(options.url, tracks_server=True, coalesces=True)
    return Session(
        connection=connection,
        announcements=Announcements(connection),
        identity=Identity(assignment.worker_id, options.name),
        settings=options.settings,
        leases=[Lease(QueueKeys(options.settings.namespace, queue), assignment.worker_id) for queue in options.queues],
        clock=clock,
        server_clock=ServerClock(clock),
    )
