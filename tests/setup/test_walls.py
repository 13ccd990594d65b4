"""The import contracts of pyproject.toml: each kind of forbidden import is reported."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.limits import limit_s
from tests.support.repository import ROOT


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    for package in ("oneshot_queue", "workers"):
        shutil.copytree(ROOT / package, tmp_path / package, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("contract", "module", "line"),
    [
        ("package", "oneshot_queue/jobs.py", "import oneshot_queue.client.verbs.get"),
        ("package", "oneshot_queue/newcomer.py", "import os"),
        ("package", "oneshot_queue/client/verbs/get.py", "import oneshot_queue.workers.task"),
        ("cli", "oneshot_queue/cli/verbs/ls.py", "import oneshot_queue.store.keys"),
        ("doors", "oneshot_queue/cli/verbs/doctor.py", "import oneshot_queue.workers.supervisor.worker_dirs"),
        ("redis", "oneshot_queue/client/verbs/get.py", "import redis"),
        ("redis", "oneshot_queue/store/claims.py", "import redis"),
        ("redis", "workers/task.py", "from redis.asyncio import Redis"),
        ("pure", "oneshot_queue/states.py", "import socket"),
        ("pure", "oneshot_queue/wire/specs.py", "import anyio"),
        ("engine", "workers/processes/process.py", "from oneshot_queue.store import keys"),
        ("engine", "workers/task.py", "import oneshot_queue.client.verbs.get"),
        ("supervisor", "workers/supervisor/child.py", "import asyncio"),
        ("workers", "workers/processes/process.py", "import oneshot_queue.workers.task"),
        ("workers", "workers/newcomer.py", "import os"),
        ("worker", "workers/worker/state/leases.py", "import oneshot_queue.workers.worker.report"),
        ("processes", "workers/processes/process.py", "import oneshot_queue.workers.processes.termination"),
        ("circles", "oneshot_queue/client/presences.py", "import oneshot_queue.client.verbs.workers"),
    ],
)
def test_forbidden_import_is_reported(copied: Path, contract: str, module: str, line: str) -> None:
    with (copied / module).open("a") as source:
        source.write(f"\n\ndef _forbidden() -> None:\n    {line}\n")

    done = _lint(copied, contract)

    assert done.returncode == 1, done.stdout
    assert module.removesuffix(".py").rpartition("/")[2] in done.stdout


def test_service_that_imports_another_is_reported(copied: Path) -> None:
    one, other, *_ = sorted(path.stem for path in (copied / "workers/worker/services").glob("[a-z]*.py"))
    with (copied / f"workers/worker/services/{one}.py").open("a") as source:
        source.write(f"\n\ndef _forbidden() -> None:\n    import oneshot_queue.workers.worker.services.{other}\n")

    done = _lint(copied, "services")

    assert done.returncode == 1, done.stdout


@pytest.mark.parametrize("module", ["oneshot_queue.workers.orchestrator", "oneshot_queue.workers.task"])
def test_engine_loads_no_redis(module: str) -> None:
    assert "redis" not in _loaded_by(module)


def test_command_line_loads_neither_the_workers_nor_redis_before_a_verb_needs_them() -> None:
    assert _loaded_by("oneshot_queue.cli").isdisjoint({"redis", "oneshot_queue.workers"})


def test_import_of_workers_as_a_top_level_package_is_rejected(tmp_path: Path) -> None:
    (tmp_path / "late.py").write_text("import workers.task\nfrom workers import main\n\nprint(workers.task, main)\n")
    command = [str(Path(sys.executable).with_name("ruff")), "check", "--config", str(ROOT / "pyproject.toml")]

    done = subprocess.run(
        [*command, "--select", "TID251", "."], cwd=tmp_path, capture_output=True, text=True, check=False
    )

    assert done.stdout.count("import oneshot_queue.workers") == 2


def _lint(folder: Path, contract: str) -> "subprocess.CompletedProcess[str]":
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-logo", "--no-cache", "--contract", contract]
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=limit_s(50), check=False
    )


def _loaded_by(module: str) -> set[str]:
    program = f"import {module}, sys; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-P", "-c", program], capture_output=True, text=True, check=True)
    names = loaded.stdout.split()
    return set(names) | {name.partition(".")[0] for name in names}
