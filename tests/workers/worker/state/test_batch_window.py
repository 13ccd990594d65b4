"""In a rush of short jobs ends and claims keep step."""

from __future__ import annotations

import anyio
from anyio.lowlevel import checkpoint

from oneshot_queue.workers.worker.state.batch_window import BatchWindow


async def test_nobody_waits_without_a_rush() -> None:
    with anyio.fail_after(0):
        await BatchWindow(lambda: False).keep()


async def test_all_who_come_in_a_rush_go_on_together() -> None:
    window, gone_on = BatchWindow(lambda: True), []

    async def come(name: str) -> None:
        await window.keep()
        gone_on.append(name)

    with anyio.fail_after(5):
        async with anyio.create_task_group() as group:
            group.start_soon(come, "a claim")
            await checkpoint()
            group.start_soon(come, "an end")
            await checkpoint()
            assert gone_on == []
            while not gone_on:
                await checkpoint()
            await checkpoint()
            assert gone_on == ["a claim", "an end"]


async def test_who_gives_up_leaves_the_beat_to_the_others() -> None:
    window = BatchWindow(lambda: True)

    with anyio.fail_after(5):
        async with anyio.create_task_group() as group:
            with anyio.move_on_after(0) as given_up:
                await window.keep()
            assert given_up.cancelled_caught
            group.start_soon(window.keep)
        await window.keep()
