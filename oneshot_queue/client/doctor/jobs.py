"""The checks of a queue's consumer groups, streams, sets and indexes, and of every job in them."""

from __future__ import annotations

from typing import Final

from oneshot_queue.client.doctor.findings import Report
from oneshot_queue.client.doctor.leases import SETTLED_BY_DOCTOR, leases_with_signs_of_life
from oneshot_queue.client.effects import Context, RunCalls, Verb, run_call
from oneshot_queue.errors import BrokerError
from oneshot_queue.spec import Priority
from oneshot_queue.states import JobState
from oneshot_queue.store import checkup, sweep
from oneshot_queue.store.checkup import PAGE, Anomaly

_UNHELD: Final = "running-without-lease"


def examine_groups(context: Context, report: Report, *, repair: bool) -> Verb[None]:
    """Check that each ready stream has its consumer group."""
    for priority in Priority:
        (has_group,) = yield RunCalls([checkup.group_exists(context.keys, priority)])
        # An error means that there is no such stream.
        if has_group is False:
            is_repaired = False
            if repair:
                (answer,) = yield RunCalls([checkup.make_group(context.keys, priority)])
                is_repaired = not isinstance(answer, BrokerError)
            report.add("no-group", f"ready:{priority}", queue=context.queue, is_repaired=is_repaired)


def examine_streams(context: Context, report: Report, *, repair: bool) -> Verb[int]:
    """Examine the entries of the ready streams, and return how many there are."""
    total = 0
    for priority in Priority:
        after, count = "", PAGE
        while count == PAGE:
            part = yield from run_call(checkup.examine_entries(context.keys, priority, after, repairs=repair))
            report.add_all(context.queue, part.anomalies)
            after, count = part.left, part.count
            total += count
    return total


def examine_due(context: Context, report: Report, *, repair: bool) -> Verb[None]:
    """Examine the sets of delayed and expiring jobs."""
    for name in ("delayed", "expiring"):
        start, count = 0, PAGE
        while count == PAGE:
            part = yield from run_call(checkup.examine_due(context.keys, name, start, repairs=repair))
            report.add_all(context.queue, part.anomalies)
            start, count = start + part.count - int(part.left), part.count


def examine_states(context: Context, report: Report, *, repair: bool, may_settle: bool) -> Verb[int]:
    """Examine the jobs of every state, and return how many there are.

    Args:
        may_settle: Whether a missing sign of life proves that a worker is gone.
    """
    total = 0
    for state in JobState:
        start, count = 0, PAGE
        while count == PAGE:
            call = checkup.examine_index(context.keys, state, start, repairs=repair, settings=context.settings)
            part = yield from run_call(call)
            report.add_all(context.queue, (each for each in part.anomalies if each.code != _UNHELD))
            unheld = [each for each in part.anomalies if each.code == _UNHELD]
            settled = yield from _settle(context, report, unheld, repair=repair, may_settle=may_settle)
            start, count = start + part.count - int(part.left) - settled, part.count
            total += count
    return total


def _settle(context: Context, report: Report, unheld: list[Anomaly], *, repair: bool, may_settle: bool) -> Verb[int]:
    """Report running jobs without a live lease, and on request settle those whose worker gives no sign of life.

    Returns:
        How many were settled.
    """
    if not unheld:
        return 0
    alive = yield from leases_with_signs_of_life(context, {each.detail for each in unheld if each.detail})
    settled = 0
    for each in unheld:
        is_repairable, is_repaired = may_settle and each.detail not in alive, False
        if repair and is_repairable:
            is_repaired = yield from run_call(
                sweep.settle(
                    context.keys,
                    each.subject,
                    each.detail,
                    by=context.by,
                    error=SETTLED_BY_DOCTOR,
                    spread=1.0,
                    settings=context.settings,
                )
            )
        settled += is_repaired
        report.add(
            _UNHELD,
            each.subject,
            each.detail or "(none)",
            queue=context.queue,
            is_repairable=is_repairable,
            is_repaired=is_repaired,
        )
    return settled
