"""The spool holds the results that Redis has not accepted, and does not grow with those that it has."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from oneshot_queue.clock import SystemClock
from oneshot_queue.workers.worker import spooler as spooler_module
from oneshot_queue.workers.worker.spool import Spool
from oneshot_queue.workers.worker.spooler import Spooler
from tests.workers.worker.builders import a_held_job, a_session
from tests.workers.worker.test_spool import a_completion, kept


def a_spooler(path: Path) -> Spooler:
    return Spooler(a_session(clock=SystemClock()), Spool(path))


@pytest.fixture
def no_thread() -> Iterator[None]:
    """Make every start of a thread fail, as when the limit of the host is reached."""
    # A stack of this size does not fit into the address space.
    before = threading.stack_size(1 << 47)
    try:
        with pytest.raises(RuntimeError):
            threading.Thread(target=print).start()
        yield
    finally:
        threading.stack_size(before)


async def test_file_is_removed_once_no_result_in_it_waits(tmp_path: Path) -> None:
    path, held = tmp_path / "spool", a_held_job("a")
    spooler = a_spooler(path)
    await spooler.keep([(held, a_completion("a"))])

    await spooler.release([held])
    assert [each.job_id for each in kept(path)] == ["a"]
    await spooler.release([])

    assert not path.exists()


async def test_file_is_bounded_while_one_result_is_refused_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spooler_module, "MAX_STALE", 10)
    path, refused = tmp_path / "spool", a_held_job("refused")
    spooler = a_spooler(path)
    await spooler.keep([(refused, a_completion("refused"))])
    lengths = []

    for number in range(50):
        taken = a_held_job(f"job-{number}")
        await spooler.keep([(taken, a_completion(taken.job_id))])
        await spooler.release([refused])
        lengths.append(len(kept(path)))

    assert max(lengths) <= 1 + spooler_module.MAX_STALE + 1
    assert kept(path)[0].job_id == "refused"


async def test_results_are_spooled_and_released_where_no_thread_can_be_started(tmp_path: Path, no_thread: None) -> None:
    path, held = tmp_path / "spool", a_held_job("a")
    spooler = a_spooler(path)

    await spooler.keep([(held, a_completion("a"))])
    assert [each.job_id for each in kept(path)] == ["a"]
    await spooler.release([])

    assert not path.exists()
