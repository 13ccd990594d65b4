"""``run``: enqueue a command, follow its output, and exit as it did."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from oneshot_queue.cli.arguments import last_job
from oneshot_queue.cli.arguments.destination import Destination, destination_for, open_queue
from oneshot_queue.cli.arguments.job import OPTIONS_END_AT_COMMAND, JobRequest, takes_a_job
from oneshot_queue.cli.commands import Verb
from oneshot_queue.cli.ctrl_c import CtrlC
from oneshot_queue.cli.exit_codes import exit_code_of_job, result_text
from oneshot_queue.cli.on_demand_worker import OnDemandWorker
from oneshot_queue.cli.output.job_output import OutputPrinter
from oneshot_queue.cli.output.terminal import print_message
from oneshot_queue.cli.waiting_notices import unattended_notice
from oneshot_queue.errors import OneshotQueueError

if TYPE_CHECKING:
    from oneshot_queue.client.attention import OnUnattended, Unattended
    from oneshot_queue.client.sync_queue import SyncJob, SyncQueue
    from oneshot_queue.jobs import JobRecord


def add_to(app: typer.Typer) -> None:
    """Add this verb."""
    app.command("run", cls=Verb, context_settings=OPTIONS_END_AT_COMMAND)(takes_a_job(run))


def run(request: JobRequest) -> int:
    """Run a command through the queue as if it ran here.

    Print the command's output and exit with its exit code. Ctrl-C interrupts the job, a second Ctrl-C kills it, and a
    third stops waiting. On the local broker, no worker is needed.

        oneshot-queue run -- make -j4
        oneshot-queue run -q gpu --time-limit 2h python train.py

    Exit code: the command's; 128+N signal N; 124 time limit or idle timeout; 126 or 127 could not
    be started; 130 interrupted; 75 worker lost; 125 oneshot-queue's own errors.
    """
    from oneshot_queue.jobs import new_job_id

    destination = destination_for(request.url)
    # Choose the id here, so that the job can be interrupted even while it is being stored.
    job_id = request.id or new_job_id()
    with open_queue(destination, request.queue) as queue, CtrlC(destination, queue.name, job_id) as ctrl_c:
        job = queue.enqueue(request.spec, id=job_id)
        ctrl_c.job_is_stored()
        last_job.remember(destination, job.id, job.queue)
        if not job.created:
            print_message(f"job {job.id} already exists; following it")
        try:
            record = _follow(job, _on_unattended(destination, job))
        except BrokenPipeError:
            # As in a shell pipeline, the job ends when the reader of its output is gone.
            _interrupt_unread(queue, job_id)
            raise
        except KeyboardInterrupt:
            if ctrl_c.unconfirmed is not None:
                raise ctrl_c.unconfirmed from None
            print_message(f"no longer waiting for job {job_id}; its interrupt is recorded")
            raise
    if record.exit_code is None or str(record.cause) != "exit":
        print_message(f"job {job_id} {result_text(record)}")
    return exit_code_of_job(record)


def _follow(job: SyncJob, on_unattended: OnUnattended) -> JobRecord:
    printer = OutputPrinter()
    for chunk in job.output(follow=True, on_unattended=on_unattended):
        printer.show(chunk)
    record = job.refresh().record
    assert record is not None
    printer.end(record)
    return record


def _on_unattended(destination: Destination, job: SyncJob) -> OnUnattended:
    """What to do if no live worker runs the job: start one on a local broker, else print a notice."""
    print_notice = unattended_notice(destination)
    worker = OnDemandWorker(destination, job.queue, job.id)

    def react(news: Unattended) -> None:
        if destination.is_local and news.worker is None:
            worker.start()
        else:
            print_notice(news)

    return react


def _interrupt_unread(queue: SyncQueue, job_id: str) -> None:
    try:
        queue.interrupt([job_id], reason="the reader of its output closed it", confirm=False)
    except OneshotQueueError as problem:
        print_message(f"cannot interrupt job {job_id}: {problem}")
