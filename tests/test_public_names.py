"""The public names of the package resolve, load late, and are visible to type checkers."""

from __future__ import annotations

import ast
import inspect
import subprocess
import sys
from typing import get_type_hints

import pytest

import oneshot_queue
from oneshot_queue import (
    AsyncOrchestrator,
    Captured,
    Job,
    JobOptions,
    JobState,
    OneshotTask,
    Outcome,
    QueueCounts,
    WorkerPresence,
    run_commands,
)


def _loaded_by(code: str) -> set[str]:
    script = f"import sys\n{code}\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-P", "-c", script], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


@pytest.mark.parametrize("name", oneshot_queue.__all__)
def test_public_name_resolves(name: str) -> None:
    assert getattr(oneshot_queue, name) is not None
    assert name in dir(oneshot_queue)


def test_type_checkers_see_the_names_that_resolve() -> None:
    tree = ast.parse(inspect.getsource(oneshot_queue))
    (block,) = (node for node in tree.body if isinstance(node, ast.If))
    seen = {alias.name: node.module for node in block.body if isinstance(node, ast.ImportFrom) for alias in node.names}

    assert seen == oneshot_queue._MODULE_OF
    assert sorted({*seen, "__version__"}) == oneshot_queue.__all__


def test_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="'xyzzy'"):
        _ = oneshot_queue.xyzzy


def test_importing_the_package_loads_neither_redis_nor_the_workers() -> None:
    loaded = _loaded_by("import oneshot_queue")

    assert {name for name in loaded if name.startswith("oneshot_queue")} == {"oneshot_queue", "oneshot_queue._version"}
    assert not loaded & {"redis", "anyio", "asyncio", "msgpack", "statemachine"}


def test_local_engine_loads_no_redis_client() -> None:
    loaded = _loaded_by("from oneshot_queue import AsyncOrchestrator, OneshotTask, run_commands")

    assert "oneshot_queue.workers.orchestrator" in loaded
    assert "redis" not in loaded


def test_callers_can_annotate_with_the_types_of_results() -> None:
    # What is promised here is promised by mypy, which checks this file.
    def report(
        job: Job, counts: QueueCounts, workers: list[WorkerPresence], outcome: Outcome, task: OneshotTask
    ) -> tuple[str, int, list[str], Captured | None, JobState]:
        return job.id, counts.ready, [each.name for each in workers], outcome.output, task.state

    def run(orchestrator: AsyncOrchestrator, options: JobOptions) -> list[Outcome]:
        del orchestrator, options
        return run_commands([["true"]])

    assert get_type_hints(report)["counts"] is QueueCounts
    assert get_type_hints(run)["options"] is JobOptions
