"""Spooled results are read back in order, and one that did not fit hides none of the others."""

from __future__ import annotations

import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from oneshot_queue.outcomes import Cause, Outcome
from oneshot_queue.states import JobState
from oneshot_queue.store.attempts import Holder
from oneshot_queue.store.keys import QueueKeys
from oneshot_queue.workers.worker.spool import Spool, read_spool
from oneshot_queue.workers.worker.state.completions import Completion

KEYS = QueueKeys("oq", "builds")


def a_completion(job_id: str) -> Completion:
    return Completion(
        KEYS,
        job_id,
        1,
        Holder("100-secret", "worker.1", "worker"),
        Outcome(JobState.COMPLETED, Cause.EXIT, exit_code=0, attempt=1),
        ended_s=0.0,
        started_s=-2.5,
        inline=(),
        kept=0,
        fields={"pid": 4001},
        retry_after_s=None,
    )


def kept(path: Path) -> list[Completion]:
    return [each.completion for each in read_spool(path, lambda queue: QueueKeys("oq", queue))]


@contextmanager
def room_for(count: int) -> Iterator[None]:
    """No file may become longer, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (count, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def test_results_are_read_back_in_order(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool")

    spool.keep([(a_completion("a"), 1_000), (a_completion("b"), 2_000)])
    spool.keep([(a_completion("c"), 3_000)])

    assert kept(tmp_path / "spool") == [a_completion(each) for each in "abc"]


def test_a_result_that_does_not_fit_is_an_error_and_hides_no_later_one(tmp_path: Path) -> None:
    path = tmp_path / "spool"
    spool = Spool(path)
    spool.keep([(a_completion("a"), 1_000)])

    with room_for(path.stat().st_size + 10), pytest.raises(OSError, match="No space left"):
        spool.keep([(a_completion("b"), 2_000)])
    spool.keep([(a_completion("c"), 3_000)])

    assert kept(path) == [a_completion(each) for each in "ac"]


def test_a_truncated_spool_gives_the_results_before_the_cut(tmp_path: Path) -> None:
    path = tmp_path / "spool"
    Spool(path).keep([(a_completion("a"), 1_000), (a_completion("b"), 2_000)])

    with path.open("rb+") as file:
        file.truncate(path.stat().st_size - 1)

    assert kept(path) == [a_completion("a")]
