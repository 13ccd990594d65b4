"""``run``: a command through the queue, as if it ran here."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from oneshot_queue.cli.arguments import last_job
from oneshot_queue.cli.arguments.destination import Destination, broker_for, connected
from oneshot_queue.cli.arguments.job import WORDS_OF_A_COMMAND, JobRequest, takes_a_job
from oneshot_queue.cli.commands import Verb
from oneshot_queue.cli.ctrl_c import CtrlC
from oneshot_queue.cli.exit_codes import ending, exit_code_of
from oneshot_queue.cli.on_demand_worker import OnDemandWorker
from oneshot_queue.cli.output.job_output import OutputPrinter
from oneshot_queue.cli.output.terminal import say
from oneshot_queue.cli.waiting_notices import nobody_works_on_it
from oneshot_queue.errors import OneshotQueueError

if TYPE_CHECKING:
    from oneshot_queue.client.attention import OnUnattended, Unattended
    from oneshot_queue.client.sync_queue import SyncJob, SyncQueue
    from oneshot_queue.jobs import JobRecord


def add_to(app: typer.Typer) -> None:
    """Add this verb."""
    app.command("run", cls=Verb, context_settings=WORDS_OF_A_COMMAND)(takes_a_job(run))


def run(request: JobRequest) -> int:
    """Run a command through the queue as if it ran here.

    Prints what it prints, and exits as it exits. Ctrl-C interrupts it, a second one kills it, a third stops waiting
    for it. On the local broker no worker is needed.

        oneshot-queue run -- make -j4
        oneshot-queue run -q gpu --time-limit 2h python train.py

    Exit code: the command's; 128+N for signal N; 124 time limit or idle timeout; 126 or 127 not
    started; 130 interrupted; 75 its worker was lost; 125 anything of ours.
    """
    from oneshot_queue.jobs import new_job_id

    broker = broker_for(request.url)
    # Our own id, known before the job is: whatever happens while it is being stored, it can be interrupted.
    job_id = request.id or new_job_id()
    with connected(broker, request.queue) as queue, CtrlC(broker, queue.name, job_id) as presses:
        job = queue.enqueue(request.spec, id=job_id)
        presses.job_is_stored()
        last_job.remember(broker, job.id, job.queue)
        if not job.created:
            say(f"job {job.id} was there already; following it")
        try:
            record = _follow(job, _helper(broker, job))
        except BrokenPipeError:
            # As in a shell's pipeline: whose output nobody reads any more has no reason to go on.
            _give_up(queue, job_id)
            raise
        except KeyboardInterrupt:
            if presses.silence is not None:
                raise presses.silence from None
            say(f"no longer waiting for job {job_id}, whose interrupt is on record")
            raise
    if record.exit_code is None or str(record.cause) != "exit":
        say(f"job {job_id} {ending(record)}")
    return exit_code_of(record)


def _follow(job: SyncJob, unattended: OnUnattended) -> JobRecord:
    printer = OutputPrinter()
    for chunk in job.output(follow=True, on_unattended=unattended):
        printer.show(chunk)
    record = job.refresh().record
    assert record is not None
    printer.end(record)
    return record


def _helper(broker: Destination, job: SyncJob) -> OnUnattended:
    """What to do when nobody works on the job: start a worker for it where that is ours to do, else say so."""
    tell = nobody_works_on_it(broker)
    own_worker = OnDemandWorker(broker, job.queue, job.id)

    def help_out(news: Unattended) -> None:
        if broker.is_local and news.worker is None:
            own_worker.start()
        else:
            tell(news)

    return help_out


def _give_up(queue: SyncQueue, job_id: str) -> None:
    try:
        queue.interrupt([job_id], reason="nobody reads its output any more", confirm=False)
    except OneshotQueueError as problem:
        say(f"job {job_id} could not be interrupted: {problem}")
