"""The checks of a queue's totals and counters."""

from __future__ import annotations

import re
from typing import Final

from oneshot_queue.client.doctor.findings import Report
from oneshot_queue.client.effects import Context, Verb, run_call
from oneshot_queue.store import checkup
from oneshot_queue.store.checkup import PAGE

_COUNT: Final = re.compile(r"-?[0-9]{1,18}")


def examine_totals(context: Context, report: Report, *, repair: bool) -> Verb[None]:
    """Check the counters, the total of stored output, and the quarantine."""
    counters = yield from run_call(checkup.counters(context.keys))
    wrong = {name for name, value in counters.items() if not _COUNT.fullmatch(value)}
    for name in sorted(wrong):
        report.add("counter-wrong", f"counters {name}", "is not a number", queue=context.queue)
    if "kept" not in wrong:
        yield from _examine_kept(context, report, repair=repair)
    malformed = counters.get("malformed", "0")
    if "malformed" not in wrong and int(malformed) > 0:
        report.add("malformed", "counters malformed", malformed, queue=context.queue)
    if length := (yield from run_call(checkup.quarantine_length(context.keys))):
        report.add("quarantine", "quarantine", str(length), queue=context.queue)


def _examine_kept(context: Context, report: Report, *, repair: bool) -> Verb[None]:
    is_readable = yield from _examine_rows(context, report, repair=repair)
    if not is_readable:
        return
    # Read before and after adding up: while jobs end, the total changes and is left alone.
    before = (yield from run_call(checkup.counters(context.keys))).get("kept", "")
    total, cursor = 0, ""
    while cursor != "0":
        cursor, rows = yield from run_call(checkup.kept_rows(context.keys, cursor or "0"))
        total += sum(int(value) for _, value in rows)
    after = (yield from run_call(checkup.counters(context.keys))).get("kept", "")
    if before != after or total == int(before or 0):
        return
    is_repaired = False
    if repair:
        count = yield from run_call(checkup.kept_count(context.keys))
        is_repaired = yield from run_call(checkup.correct_total(context.keys, read=before, rows=count, right=total))
    detail = f"{before or 0} bytes recorded, {total} bytes found"
    report.add("total-wrong", "counters kept", detail, queue=context.queue, is_repaired=is_repaired)


def _examine_rows(context: Context, report: Report, *, repair: bool) -> Verb[bool]:
    """Examine the jobs whose output is counted, and return whether every row can be read."""
    cursor, is_readable = "", True
    while cursor != "0":
        cursor, rows = yield from run_call(checkup.kept_rows(context.keys, cursor or "0"))
        ids = []
        for job_id, value in rows:
            if _COUNT.fullmatch(value.decode("ascii", "replace")):
                ids.append(job_id)
            else:
                is_readable = False
                report.add(
                    "counter-wrong", f"kept {job_id.decode('utf-8', 'replace')}", "is not a number", queue=context.queue
                )
        for start in range(0, len(ids), PAGE):
            part = yield from run_call(checkup.examine_kept(context.keys, ids[start : start + PAGE], repairs=repair))
            report.add_all(context.queue, part.anomalies)
    return is_readable
