"""The verb that examines the server, then every queue or only one."""

from __future__ import annotations

from oneshot_queue.checks import NAME_PATTERN
from oneshot_queue.client.doctor.findings import Finding, Report
from oneshot_queue.client.doctor.jobs import examine_due, examine_groups, examine_states, examine_streams
from oneshot_queue.client.doctor.leases import examine_leases
from oneshot_queue.client.doctor.server import examine_server, has_been_up_long_enough
from oneshot_queue.client.doctor.totals import examine_totals
from oneshot_queue.client.effects import Context, Verb, run_call, run_calls
from oneshot_queue.errors import BrokerError
from oneshot_queue.states import JobState
from oneshot_queue.store import checkup, queues
from oneshot_queue.store.transport.refusals import is_damage


def examine_broker(context: Context, *, repair: bool = False, only: str | None = None) -> Verb[list[Finding]]:
    """Examine the broker and its queues.

    Args:
        repair: Repair what is safe to repair automatically; otherwise nothing is written.
        only: The only queue to examine; ``None`` for all.

    Raises:
        BrokerError: It cannot be reached or refuses.
    """
    report = Report()
    yield from examine_server(context, report)
    may_settle = yield from has_been_up_long_enough()
    for name in [only] if only is not None else (yield from _names(context, report)):
        yield from _examine_queue(context.for_queue(name), report, repair=repair, may_settle=may_settle)
    return report.findings()


def _names(context: Context, report: Report) -> Verb[list[str]]:
    kind = yield from run_call(checkup.kind_of_registry(context.namespace))
    if kind not in ("set", "none"):
        report.add("wrong-type", "queues", f"has type {kind}, should be set")
        return [context.queue]
    names = yield from run_call(queues.queues(context.namespace))
    for name in names:
        if not NAME_PATTERN.fullmatch(name):
            report.add("queue-name", name)
    return [name for name in names if NAME_PATTERN.fullmatch(name)]


def _examine_queue(context: Context, report: Report, *, repair: bool, may_settle: bool) -> Verb[None]:
    # A queue with a key of a wrong type is not repaired: no script could be sure to finish what it begins.
    is_sound = yield from _examine_types(context, report)
    repair = repair and is_sound
    try:
        leases = yield from examine_leases(context, report, repair=repair, may_settle=may_settle)
        entries = yield from examine_streams(context, report, repair=repair)
        yield from examine_due(context, report, repair=repair)
        jobs = yield from examine_states(context, report, repair=repair, may_settle=may_settle)
        yield from examine_totals(context, report, repair=repair)
        # Last, because a repair may have created a stream.
        yield from examine_groups(context, report, repair=repair)
    except BrokerError as problem:
        if not is_damage(problem):
            raise
        if is_sound:
            report.add("damaged", context.queue, str(problem), queue=context.queue)
        return
    if waiting := (0 if leases else (yield from run_call(checkup.count_in(context.keys, JobState.CREATED)))):
        detail = "1 job is waiting" if waiting == 1 else f"{waiting} jobs are waiting"
        report.add("unserved", "workers", detail, queue=context.queue)
    if not (leases or entries or jobs):
        report.add("empty-queue", context.queue, queue=context.queue)


def _examine_types(context: Context, report: Report) -> Verb[bool]:
    rows = checkup.kinds(context.keys)
    found = yield from run_calls([call for _, _, call in rows])
    wrong = [
        (name, expected, actual)
        for (name, expected, _), actual in zip(rows, found, strict=True)
        if actual not in (expected, "none")
    ]
    for name, expected, actual in wrong:
        report.add("wrong-type", name, f"has type {actual}, should be {expected}", queue=context.queue)
    return not wrong
