"""The checks of a queue's leases: those that are expired, condemned or unknown, and what is pending under them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from oneshot_queue.client.doctor.findings import Report
from oneshot_queue.client.effects import Context, RunCalls, Verb, run_call, run_calls
from oneshot_queue.durations import brief_duration
from oneshot_queue.errors import BrokerError
from oneshot_queue.settings import Settings
from oneshot_queue.spec import Priority
from oneshot_queue.store import checkup, sweep
from oneshot_queue.store.checkup import LeaseEnd
from oneshot_queue.store.keys import QueueKeys
from oneshot_queue.store.leases import worker_of
from oneshot_queue.store.sweep import NotSwept

SETTLED_BY_DOCTOR: Final = "its worker gave no sign of life; settled by doctor --repair"
_BATCH: Final = 500


@dataclass(frozen=True, slots=True)
class LeaseSurvey:
    """The leases of a queue.

    Attributes:
        ends: The end of each registered lease, by its id.
        lengths_ms: The stored length of each lease, by its id; not checked to be a number.
        used: By lease id, where that lease is still referred to, registered or not.
    """

    ends: dict[str, LeaseEnd]
    lengths_ms: dict[str, str]
    used: dict[str, str]


def examine_leases(context: Context, report: Report, *, repair: bool, may_settle: bool) -> Verb[int]:
    """Examine the leases of a queue, and the leases under which entries are pending.

    With ``repair``, the jobs of three kinds of leases are settled as a sweeper would do it: condemned leases, and, if
    their worker gives no sign of life, unknown ones and those that have been expired for their full length.

    Args:
        may_settle: Whether a missing sign of life proves that a worker is gone.

    Returns:
        How many leases are live.
    """
    seen = yield from _read_leases(context.keys)
    now_ms = yield from run_call(checkup.server_now_ms())
    expired = [each for each in seen.ends.values() if each.ends_ms < now_ms]
    unknown = [lease for lease in seen.used if lease not in seen.ends]
    alive = yield from leases_with_signs_of_life(context, [*unknown, *(each.id for each in expired)])
    for end in expired:
        expired_ms = now_ms - end.ends_ms
        is_condemned = end.ends_ms == 0
        length_ms = _length_ms(seen, end.id, context.settings)
        is_repairable = is_condemned or (may_settle and expired_ms > length_ms and end.id not in alive)
        is_repaired = repair and is_repairable and (yield from _sweep(context, end.id, end.ends))
        code, detail = ("lease-condemned", "") if is_condemned else ("lease-over", brief_duration(expired_ms / 1000))
        report.add(code, end.id, detail, queue=context.queue, is_repairable=is_repairable, is_repaired=is_repaired)
    for lease in unknown:
        is_repairable, is_repaired = may_settle and lease not in alive, False
        if repair and is_repairable:
            (answer,) = yield RunCalls([checkup.condemn_unknown(context.keys, lease)])
            # An error means that there is no memory left for another row.
            is_repaired = not isinstance(answer, BrokerError) and (yield from _sweep(context, lease, "0"))
        report.add(
            "lease-unknown",
            lease,
            seen.used[lease],
            queue=context.queue,
            is_repairable=is_repairable,
            is_repaired=is_repaired,
        )
    return len(seen.ends) - len(expired)


def leases_with_signs_of_life(context: Context, leases: Iterable[str]) -> Verb[set[str]]:
    """Those of these leases whose worker has a presence, that is, gives a sign of life."""
    found: set[str] = set()
    wanted = list(leases)
    for start in range(0, len(wanted), _BATCH):
        batch = wanted[start : start + _BATCH]
        answer = yield from run_call(checkup.are_present(context.namespace, [worker_of(each) for each in batch]))
        found.update(lease for lease, is_present in zip(batch, answer, strict=True) if is_present)
    return found


def _read_leases(keys: QueueKeys) -> Verb[LeaseSurvey]:
    # Read before and after the places that refer to leases: one that comes or goes meanwhile is in one of the two.
    ends = yield from _all_ends(keys)
    calls = [checkup.consumers(keys, priority) for priority in Priority]
    answers: list[list[str] | BrokerError] = yield RunCalls(calls)
    (lengths,) = yield from run_calls([checkup.lease_lengths(keys)])
    ends |= {lease: end for lease, end in (yield from _all_ends(keys)).items() if lease not in ends}
    used = dict.fromkeys(lengths, "its length is stored")
    for answer in answers:
        # An error means that there is no stream or no group; then nothing is pending.
        if not isinstance(answer, BrokerError):
            used |= dict.fromkeys(answer, "entries were delivered to it")
    return LeaseSurvey(ends, lengths, used)


def _all_ends(keys: QueueKeys) -> Verb[dict[str, LeaseEnd]]:
    found: dict[str, LeaseEnd] = {}
    start = 0
    while page := (yield from run_call(checkup.lease_ends(keys, start))):
        found |= {each.id: each for each in page}
        start += len(page)
    return found


def _length_ms(seen: LeaseSurvey, lease: str, settings: Settings) -> float:
    stored = seen.lengths_ms.get(lease, "")
    is_number = stored.isascii() and stored.isdigit() and 0 < len(stored) <= 12
    return int(stored) if is_number else settings.lease_s * 1000


def _sweep(context: Context, lease: str, ends: str) -> Verb[bool]:
    """Settle all jobs pending under a lease, and remove the lease; false if it was renewed meanwhile."""
    call = sweep.sweep(
        context.keys,
        lease,
        seen=ends,
        by=context.by,
        error=SETTLED_BY_DOCTOR,
        spread=1.0,
        is_confirmed=False,
        settings=context.settings,
    )
    while True:
        answer = yield from run_call(call)
        if isinstance(answer, NotSwept):
            return False
        if answer.is_done:
            return True
