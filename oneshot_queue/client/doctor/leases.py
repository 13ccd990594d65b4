"""Leases that are over, condemned or unknown, and what is pending under them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from oneshot_queue.client.doctor.findings import Notebook
from oneshot_queue.client.effects import Ask, Context, Verb, ask, ask_all
from oneshot_queue.durations import brief_duration
from oneshot_queue.errors import BrokerError
from oneshot_queue.settings import Settings
from oneshot_queue.spec import Priority
from oneshot_queue.store import checkup, sweep
from oneshot_queue.store.checkup import LeaseEnd
from oneshot_queue.store.keys import QueueKeys
from oneshot_queue.store.leases import worker_of
from oneshot_queue.store.sweep import NotSwept

VERDICT: Final = "its worker gave no sign of life, and the doctor was asked to decide"
_AT_ONCE: Final = 500


@dataclass(frozen=True, slots=True)
class Seen:
    """The leases of a queue.

    Attributes:
        ends: The end of each registered lease, as it is stored.
        lengths_ms: How long each lasts, as it is stored.
        used: Where leases are named that may not be registered: ``pending entries``, ``its length``.
    """

    ends: dict[str, LeaseEnd]
    lengths_ms: dict[str, str]
    used: dict[str, str]


def examine_leases(context: Context, notebook: Notebook, *, mends: bool, may_decide: bool) -> Verb[int]:
    """Examine the leases of a queue, and the names under which entries are pending.

    With ``mends``, those whose worker gives no sign of life are decided as a sweeper would: the condemned, the unknown,
    and those that are over for longer than they last.

    Args:
        may_decide: Whether a missing sign of life proves anything.

    Returns:
        How many leases are live.
    """
    seen = yield from _look(context.keys)
    now_ms = yield from ask(checkup.server_now_ms())
    over = [each for each in seen.ends.values() if each.ends_ms < now_ms]
    unknown = [lease for lease in seen.used if lease not in seen.ends]
    present = yield from those_present(context, [*unknown, *(each.id for each in over)])
    for end in over:
        over_ms = now_ms - end.ends_ms
        is_condemned = end.ends_ms == 0
        length_ms = _length_ms(seen, end.id, context.settings)
        is_mendable = is_condemned or (may_decide and over_ms > length_ms and end.id not in present)
        is_repaired = mends and is_mendable and (yield from _sweep(context, end.id, end.ends))
        code, detail = ("lease-condemned", "") if is_condemned else ("lease-over", brief_duration(over_ms / 1000))
        notebook.note(code, end.id, detail, queue=context.queue, is_mendable=is_mendable, is_repaired=is_repaired)
    for lease in unknown:
        is_mendable, is_repaired = may_decide and lease not in present, False
        if mends and is_mendable:
            (answer,) = yield Ask([checkup.condemn_unknown(context.keys, lease)])
            # An error: there is no memory left for a row more.
            is_repaired = not isinstance(answer, BrokerError) and (yield from _sweep(context, lease, "0"))
        notebook.note(
            "lease-unknown",
            lease,
            seen.used[lease],
            queue=context.queue,
            is_mendable=is_mendable,
            is_repaired=is_repaired,
        )
    return len(seen.ends) - len(over)


def those_present(context: Context, leases: Iterable[str]) -> Verb[set[str]]:
    """Those leases whose worker gives a sign of life."""
    found: set[str] = set()
    wanted = list(leases)
    for start in range(0, len(wanted), _AT_ONCE):
        some = wanted[start : start + _AT_ONCE]
        answer = yield from ask(checkup.are_present(context.namespace, [worker_of(each) for each in some]))
        found.update(lease for lease, is_present in zip(some, answer, strict=True) if is_present)
    return found


def _look(keys: QueueKeys) -> Verb[Seen]:
    # Read before and after what names them: a lease that comes or goes meanwhile is in one of the two.
    ends = yield from _all_ends(keys)
    calls = [checkup.consumers(keys, priority) for priority in Priority]
    answers: list[list[str] | BrokerError] = yield Ask(calls)
    (lengths,) = yield from ask_all([checkup.lease_lengths(keys)])
    ends |= {lease: end for lease, end in (yield from _all_ends(keys)).items() if lease not in ends}
    used = dict.fromkeys(lengths, "its length is kept")
    for answer in answers:
        # No stream, or no group: then nothing is pending.
        if not isinstance(answer, BrokerError):
            used |= dict.fromkeys(answer, "entries were handed out under it")
    return Seen(ends, lengths, used)


def _all_ends(keys: QueueKeys) -> Verb[dict[str, LeaseEnd]]:
    found: dict[str, LeaseEnd] = {}
    start = 0
    while page := (yield from ask(checkup.lease_ends(keys, start))):
        found |= {each.id: each for each in page}
        start += len(page)
    return found


def _length_ms(seen: Seen, lease: str, settings: Settings) -> float:
    stored = seen.lengths_ms.get(lease, "")
    is_number = stored.isascii() and stored.isdigit() and 0 < len(stored) <= 12
    return int(stored) if is_number else settings.lease_s * 1000


def _sweep(context: Context, lease: str, ends: str) -> Verb[bool]:
    """Decide all that is pending under a lease, and remove it; false if it was renewed meanwhile."""
    call = sweep.sweep(
        context.keys,
        lease,
        seen=ends,
        by=context.by,
        error=VERDICT,
        spread=1.0,
        is_confirmed=False,
        settings=context.settings,
    )
    while True:
        answer = yield from ask(call)
        if isinstance(answer, NotSwept):
            return False
        if answer.is_done:
            return True
