"""Groups, streams and indexes of a queue, and every job that stands in one of them."""

from __future__ import annotations

from typing import Final

from oneshot_queue.client.doctor.findings import Notebook
from oneshot_queue.client.doctor.leases import VERDICT, those_present
from oneshot_queue.client.effects import Ask, Context, Verb, ask
from oneshot_queue.errors import BrokerError
from oneshot_queue.spec import Priority
from oneshot_queue.states import JobState
from oneshot_queue.store import checkup, sweep
from oneshot_queue.store.checkup import PAGE, Anomaly

_UNHELD: Final = "running-without-lease"


def examine_groups(context: Context, notebook: Notebook, *, mends: bool) -> Verb[None]:
    """See whether each ready stream has its consumer group."""
    for priority in Priority:
        (has_group,) = yield Ask([checkup.group_exists(context.keys, priority)])
        # An error: there is no such stream.
        if has_group is False:
            is_repaired = False
            if mends:
                (answer,) = yield Ask([checkup.make_group(context.keys, priority)])
                is_repaired = not isinstance(answer, BrokerError)
            notebook.note("no-group", f"ready:{priority}", queue=context.queue, is_repaired=is_repaired)


def examine_streams(context: Context, notebook: Notebook, *, mends: bool) -> Verb[int]:
    """Examine what waits in the ready streams; returns how many entries there are."""
    total = 0
    for priority in Priority:
        after, count = "", PAGE
        while count == PAGE:
            part = yield from ask(checkup.examine_entries(context.keys, priority, after, repairs=mends))
            notebook.note_all(context.queue, part.anomalies)
            after, count = part.left, part.count
            total += count
    return total


def examine_due(context: Context, notebook: Notebook, *, mends: bool) -> Verb[None]:
    """Examine what the clock watches."""
    for name in ("delayed", "expiring"):
        start, count = 0, PAGE
        while count == PAGE:
            part = yield from ask(checkup.examine_due(context.keys, name, start, repairs=mends))
            notebook.note_all(context.queue, part.anomalies)
            start, count = start + part.count - int(part.left), part.count


def examine_states(context: Context, notebook: Notebook, *, mends: bool, may_decide: bool) -> Verb[int]:
    """Examine all jobs of all states; returns how many there are.

    Args:
        may_decide: Whether a worker's missing sign of life proves anything.
    """
    total = 0
    for state in JobState:
        start, count = 0, PAGE
        while count == PAGE:
            call = checkup.examine_index(context.keys, state, start, repairs=mends, settings=context.settings)
            part = yield from ask(call)
            notebook.note_all(context.queue, (find for find in part.anomalies if find.code != _UNHELD))
            unheld = [find for find in part.anomalies if find.code == _UNHELD]
            decided = yield from _decide(context, notebook, unheld, mends=mends, may_decide=may_decide)
            start, count = start + part.count - int(part.left) - decided, part.count
            total += count
    return total


def _decide(context: Context, notebook: Notebook, unheld: list[Anomaly], *, mends: bool, may_decide: bool) -> Verb[int]:
    """Note running jobs that no live lease holds; with ``mends``, decide those whose worker gives no sign of life."""
    if not unheld:
        return 0
    present = yield from those_present(context, {find.detail for find in unheld if find.detail})
    decided = 0
    for find in unheld:
        is_mendable, is_repaired = may_decide and find.detail not in present, False
        if mends and is_mendable:
            is_repaired = yield from ask(
                sweep.settle(
                    context.keys,
                    find.subject,
                    find.detail,
                    by=context.by,
                    error=VERDICT,
                    spread=1.0,
                    settings=context.settings,
                )
            )
        decided += is_repaired
        notebook.note(
            _UNHELD,
            find.subject,
            find.detail or "(none)",
            queue=context.queue,
            is_mendable=is_mendable,
            is_repaired=is_repaired,
        )
    return decided
