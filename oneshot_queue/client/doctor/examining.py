"""The verb: examine the server, then every queue or one."""

from __future__ import annotations

from oneshot_queue.checks import NAME_PATTERN
from oneshot_queue.client.doctor.findings import Finding, Notebook
from oneshot_queue.client.doctor.jobs import examine_due, examine_groups, examine_states, examine_streams
from oneshot_queue.client.doctor.leases import examine_leases
from oneshot_queue.client.doctor.server import examine_server, has_been_up
from oneshot_queue.client.doctor.totals import examine_totals
from oneshot_queue.client.effects import Context, Verb, ask, ask_all
from oneshot_queue.client.verbs.get import at_queue
from oneshot_queue.errors import BrokerError
from oneshot_queue.states import JobState
from oneshot_queue.store import checkup, queues
from oneshot_queue.store.transport.refusals import is_damage


def examine(context: Context, *, repair: bool = False, only: str | None = None) -> Verb[list[Finding]]:
    """Examine the broker and its queues.

    Args:
        repair: Mend what can be mended without a guess; otherwise nothing is written.
        only: The one queue to examine.

    Raises:
        BrokerError: It is out of reach or refuses.
    """
    notebook = Notebook()
    yield from examine_server(context, notebook)
    may_decide = yield from has_been_up()
    for name in [only] if only is not None else (yield from _names(context, notebook)):
        yield from _examine_queue(at_queue(context, name), notebook, repair=repair, may_decide=may_decide)
    return notebook.findings()


def _names(context: Context, notebook: Notebook) -> Verb[list[str]]:
    kind = yield from ask(checkup.kind_of_registry(context.namespace))
    if kind not in ("set", "none"):
        notebook.note("wrong-type", "queues", f"it is a {kind}, and should be a set")
        return [context.queue]
    names = yield from ask(queues.queues(context.namespace))
    for name in names:
        if not NAME_PATTERN.fullmatch(name):
            notebook.note("queue-name", name)
    return [name for name in names if NAME_PATTERN.fullmatch(name)]


def _examine_queue(context: Context, notebook: Notebook, *, repair: bool, may_decide: bool) -> Verb[None]:
    # A queue with a key of another type is not mended: no script could be sure to finish what it begins.
    is_sound = yield from _examine_kinds(context, notebook)
    mends = repair and is_sound
    try:
        leases = yield from examine_leases(context, notebook, mends=mends, may_decide=may_decide)
        entries = yield from examine_streams(context, notebook, mends=mends)
        yield from examine_due(context, notebook, mends=mends)
        jobs = yield from examine_states(context, notebook, mends=mends, may_decide=may_decide)
        yield from examine_totals(context, notebook, mends=mends)
        # At last: mending may have made a stream.
        yield from examine_groups(context, notebook, mends=mends)
    except BrokerError as problem:
        if not is_damage(problem):
            raise
        if is_sound:
            notebook.note("damaged", context.queue, str(problem), queue=context.queue)
        return
    if waiting := (0 if leases else (yield from ask(checkup.count_in(context.keys, JobState.CREATED)))):
        detail = "1 job waits" if waiting == 1 else f"{waiting} jobs wait"
        notebook.note("unserved", "workers", detail, queue=context.queue)
    if not (leases or entries or jobs):
        notebook.note("empty-queue", context.queue, queue=context.queue)


def _examine_kinds(context: Context, notebook: Notebook) -> Verb[bool]:
    rows = checkup.kinds(context.keys)
    found = yield from ask_all([call for _, _, call in rows])
    wrong = [(name, kind, is_) for (name, kind, _), is_ in zip(rows, found, strict=True) if is_ not in (kind, "none")]
    for name, kind, is_ in wrong:
        notebook.note("wrong-type", name, f"it is a {is_}, and should be a {kind}", queue=context.queue)
    return not wrong
