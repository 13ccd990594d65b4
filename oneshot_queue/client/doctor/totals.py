"""Sums and counters of a queue."""

from __future__ import annotations

import re
from typing import Final

from oneshot_queue.client.doctor.findings import Notebook
from oneshot_queue.client.effects import Context, Verb, ask
from oneshot_queue.store import checkup
from oneshot_queue.store.checkup import PAGE

_COUNT: Final = re.compile(r"-?[0-9]{1,18}")


def examine_totals(context: Context, notebook: Notebook, *, mends: bool) -> Verb[None]:
    """Examine how much output is kept, whether it adds up, and what was set aside."""
    said = yield from ask(checkup.counters(context.keys))
    wrong = {name for name, value in said.items() if not _COUNT.fullmatch(value)}
    for name in sorted(wrong):
        notebook.note("counter-wrong", f"counters {name}", "is no number", queue=context.queue)
    if "kept" not in wrong:
        yield from _examine_kept(context, notebook, mends=mends)
    malformed = said.get("malformed", "0")
    if "malformed" not in wrong and int(malformed) > 0:
        notebook.note("malformed", "counters malformed", malformed, queue=context.queue)
    if length := (yield from ask(checkup.quarantine_length(context.keys))):
        notebook.note("quarantine", "quarantine", str(length), queue=context.queue)


def _examine_kept(context: Context, notebook: Notebook, *, mends: bool) -> Verb[None]:
    is_readable = yield from _examine_rows(context, notebook, mends=mends)
    if not is_readable:
        return
    # Read before and after adding up: while jobs end, the sum moves, and is left alone.
    before = (yield from ask(checkup.counters(context.keys))).get("kept", "")
    total, cursor = 0, ""
    while cursor != "0":
        cursor, rows = yield from ask(checkup.kept_rows(context.keys, cursor or "0"))
        total += sum(int(value) for _, value in rows)
    after = (yield from ask(checkup.counters(context.keys))).get("kept", "")
    if before != after or total == int(before or 0):
        return
    is_repaired = False
    if mends:
        count = yield from ask(checkup.kept_count(context.keys))
        is_repaired = yield from ask(checkup.correct_total(context.keys, read=before, rows=count, right=total))
    detail = f"{before or 0} are noted, {total} are there"
    notebook.note("total-wrong", "counters kept", detail, queue=context.queue, is_repaired=is_repaired)


def _examine_rows(context: Context, notebook: Notebook, *, mends: bool) -> Verb[bool]:
    """Examine whose output is counted; returns whether every row can be read."""
    cursor, is_readable = "", True
    while cursor != "0":
        cursor, rows = yield from ask(checkup.kept_rows(context.keys, cursor or "0"))
        ids = []
        for job_id, value in rows:
            if _COUNT.fullmatch(value.decode("ascii", "replace")):
                ids.append(job_id)
            else:
                is_readable = False
                notebook.note(
                    "counter-wrong", f"kept {job_id.decode('utf-8', 'replace')}", "is no number", queue=context.queue
                )
        for start in range(0, len(ids), PAGE):
            part = yield from ask(checkup.examine_kept(context.keys, ids[start : start + PAGE], repairs=mends))
            notebook.note_all(context.queue, part.anomalies)
    return is_readable
