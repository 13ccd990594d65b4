"""During a rush of short jobs, results and claims are batched."""

from __future__ import annotations

from unittest.mock import Mock

import anyio
from anyio.lowlevel import checkpoint

from oneshot_queue.workers.worker.state.batch_window import BatchWindow
from tests.support.limits import limit_s


async def test_nobody_waits_without_a_rush() -> None:
    with anyio.fail_after(0):
        await BatchWindow(Mock(is_rush=False)).wait()


async def test_all_who_arrive_during_a_rush_continue_together() -> None:
    window, gone_on = BatchWindow(Mock(is_rush=True)), []

    async def come(name: str) -> None:
        await window.wait()
        gone_on.append(name)

    with anyio.fail_after(limit_s(5)):
        async with anyio.create_task_group() as group:
            group.start_soon(come, "a claim")
            await checkpoint()
            group.start_soon(come, "a result")
            await checkpoint()
            assert gone_on == []
            while not gone_on:
                await checkpoint()
            await checkpoint()
            assert gone_on == ["a claim", "a result"]


async def test_a_cancelled_waiter_leaves_the_window_open_for_the_others() -> None:
    window = BatchWindow(Mock(is_rush=True))

    with anyio.fail_after(limit_s(5)):
        async with anyio.create_task_group() as group:
            with anyio.move_on_after(0) as given_up:
                await window.wait()
            assert given_up.cancelled_caught
            group.start_soon(window.wait)
        await window.wait()
