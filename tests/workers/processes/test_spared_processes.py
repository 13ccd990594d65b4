"""A process that a job started, but that also serves others, outlives the job."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from oneshot_queue.workers.orchestrator import AsyncOrchestrator
from tests.support.waiting import eventually


def exists(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


async def test_spared_process_outlives_its_job_and_other_strays_do_not(tmp_path: Path) -> None:
    spared, stray = tmp_path / "spared", tmp_path / "stray"
    script = (
        f'env -i setsid sh -c "echo \\$\\$ > {spared}; exec sleep 300" </dev/null >/dev/null 2>&1 &'
        f'env -i setsid sh -c "echo \\$\\$ > {stray}; exec sleep 300" </dev/null >/dev/null 2>&1 &'
        f"while ! [ -s {spared} ] || ! [ -s {stray} ]; do :; done"
    )

    def is_spared(pid: int) -> bool:
        return pid == int(spared.read_text())

    async with AsyncOrchestrator(owns_children=True, spares=is_spared) as orchestrator:
        await orchestrator.submit(["sh", "-c", script]).wait()
        survivor, other = int(spared.read_text()), int(stray.read_text())

        assert exists(survivor)
        assert not exists(other)

        os.kill(survivor, signal.SIGKILL)
        # After its death it is reaped like any other orphan.
        keeper = orchestrator.submit(["sleep", "300"])
        await eventually(lambda: not exists(survivor), what="the spared process to be reaped")
        keeper.interrupt(grace=0.0)
