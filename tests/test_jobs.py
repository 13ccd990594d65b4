"""New ids of jobs, and how the words of a command are shown."""

from __future__ import annotations

from oneshot_queue.checks import checked_id
from oneshot_queue.jobs import new_job_id, text_of


def test_new_ids_are_valid_and_differ() -> None:
    ids = {new_job_id() for _ in range(1000)}

    assert len(ids) == 1000
    assert all(checked_id(each) == each and len(each) == 16 for each in ids)


def test_bytes_that_are_not_utf8_are_shown_as_escapes() -> None:
    assert text_of(b"a\xffb") == r"a\xffb"
    assert text_of("\u00fc".encode()) == "\u00fc"
