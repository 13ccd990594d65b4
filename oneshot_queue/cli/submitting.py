"""``enqueue`` and ``retry``: put a job into a queue and print its id."""

from __future__ import annotations

import json
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Final

import typer

from oneshot_queue.cli import last
from oneshot_queue.cli.connecting import Broker, broker_for, connected
from oneshot_queue.cli.exits import Exit, UsageProblem
from oneshot_queue.cli.notices import no_worker
from oneshot_queue.cli.options import AsJson, InQueue, JobId, Url, broker_url, seconds
from oneshot_queue.cli.spec_options import Submission, takes_a_job
from oneshot_queue.cli.terminal import is_terminal, put, say
from oneshot_queue.cli.verbs import Verb

if TYPE_CHECKING:
    from oneshot_queue.client.blocking import SyncJob, SyncQueue

WORDS_OF_A_COMMAND: Final = {"allow_interspersed_args": False}
"""Our options end at the first word of the command."""


def add_to(app: typer.Typer) -> None:
    """Add these verbs."""
    app.command("enqueue", cls=Verb, context_settings=WORDS_OF_A_COMMAND)(takes_a_job(enqueue))
    app.command("retry", cls=Verb)(retry)


def enqueue(
    submission: Submission,
    delay: Annotated[
        str | None, typer.Option("--delay", metavar="TIME", help="Do not start it before this long from now.")
    ] = None,
    at: Annotated[
        str | None,
        typer.Option(
            "--at", metavar="WHEN", help="Nor before then: 2026-12-24T18:00, here, or with a zone: …Z, …+01:00."
        ),
    ] = None,
    expires: Annotated[
        str | None,
        typer.Option("--expires", metavar="TIME", help="It FAILS if no worker has started it by then."),
    ] = None,
    as_json: AsJson = False,
) -> int:
    """Put a command into a queue and print its id.

    For example:

        oneshot-queue enqueue -q builds -n nightly -- make -j4 all
        oneshot-queue enqueue --shell 'make && ./deploy' --time-limit 1h
        oneshot-queue enqueue -l team=web -e TOKEN --stdin data.json -- ./import
        oneshot-queue enqueue --retries 3 --retry-on exit,worker_lost --delay 5m -- ./fetch
    """
    delay_s, expires_s, instant = seconds("--delay", delay), seconds("--expires", expires), _instant(at)
    broker = broker_for(submission.url)
    with connected(broker, submission.queue) as queue:
        job = queue.enqueue(submission.spec, id=submission.id, delay=delay_s, at=instant, expires=expires_s)
        _acknowledge(broker, queue, job, as_json=as_json)
    return Exit.DONE


def _instant(written: str | None) -> datetime | None:
    if written is None:
        return None
    try:
        return datetime.fromisoformat(written).astimezone()
    except (ValueError, OverflowError, OSError):
        raise UsageProblem(f"--at: {written!r} is no time; write 2026-12-24T18:00 or 2026-12-24T18:00:00Z") from None


def retry(context: typer.Context, job_id: JobId, queue: InQueue = None, url: Url = None) -> int:
    """Enqueue a job once more, as a new one, and print its id.

    For example:

        oneshot-queue retry last
    """
    broker = broker_for(broker_url(context, url))
    with connected(broker, queue) as opened:
        earlier = last.named(opened, broker, job_id, queue)
        with connected(broker, earlier.queue) as home:
            _acknowledge(broker, home, home.retry(earlier.id))
    return Exit.DONE


def _acknowledge(broker: Broker, queue: SyncQueue, job: SyncJob, *, as_json: bool = False) -> None:
    last.remember(broker, job.id, job.queue)
    put(json.dumps({"id": job.id, "created": job.created}) if as_json else job.id)
    if not job.created:
        say(f"job {job.id} was there already: {job.state}")
    elif is_terminal(2) and not any(each.may_take() for each in queue.workers(everywhere=False)):
        no_worker(broker, job.queue)
