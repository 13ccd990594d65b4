"""The wheel contains one package, and works next to the user's own package named ``workers``."""

import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.limits import limit_s
from tests.support.repository import ROOT

BUILD = "import sys; from setuptools import build_meta; build_meta.build_wheel(sys.argv[1])"
COMMAND = "from oneshot_queue.cli import program; program()"


@dataclass
class Installed:
    """A clean environment with the wheel, and a folder of the user's packages, which come first on the import path."""

    python: Path
    theirs: Path
    state: Path

    def run(self, *words: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [str(self.python), *words],
            cwd=self.theirs,
            env={
                "PATH": os.defpath,
                "PYTHONPATH": str(self.theirs),
                "XDG_STATE_HOME": str(self.state),
                "HOME": str(self.state),
            },
            capture_output=True,
            text=True,
            timeout=limit_s(30),
            check=False,
        )

    def osq(self, *words: str) -> "subprocess.CompletedProcess[str]":
        return self.run("-c", COMMAND, *words)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    # From a copy, because setuptools writes into the folder that it builds.
    source, built = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("built")
    for package in ("oneshot_queue", "workers"):
        shutil.copytree(ROOT / package, source / package, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source / name)
    subprocess.run([sys.executable, "-c", BUILD, str(built)], cwd=source, capture_output=True, check=True)
    (found,) = built.glob("*.whl")
    return found


@pytest.fixture
def installed(wheel: Path, tmp_path: Path) -> Iterator[Installed]:
    environment = tmp_path / "environment"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(environment)], check=True)
    python = environment / "bin" / "python"
    (packages,) = environment.glob("lib/python*/site-packages")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(packages)
    # Adds only the dependencies: Python does not read the editable install's .pth file in a folder added this way.
    (packages / "dependencies.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
    theirs = tmp_path / "theirs"
    (theirs / "workers").mkdir(parents=True)
    (theirs / "workers" / "__init__.py").write_text("raise ImportError('this is a package of the user')\n")
    found = Installed(python, theirs, tmp_path / "state")

    yield found

    found.osq("broker", "stop")


def test_wheel_has_one_top_level_package_with_scripts_and_types(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()

    tops = {name.partition("/")[0] for name in names if not name.partition("/")[0].endswith(".dist-info")}
    assert tops == {"oneshot_queue"}
    assert {"oneshot_queue/py.typed", "oneshot_queue/store/lua/claim.lua"} <= set(names)
    assert {"oneshot_queue/workers/main.py", "oneshot_queue/workers/worker/__main__.py"} <= set(names)


def test_environment_imports_the_wheel_and_not_the_checkout(installed: Installed) -> None:
    done = installed.run("-c", "import oneshot_queue; print(oneshot_queue.__file__)")

    assert done.stdout.startswith(str(installed.python.parents[1])), done.stderr


def test_command_runs_on_a_local_worker_next_to_the_users_package(installed: Installed) -> None:
    done = installed.osq("run", "--", "echo", "hello")

    assert (done.returncode, done.stdout) == (0, "hello\n"), done.stderr


def test_worker_takes_a_job_next_to_the_users_package(installed: Installed) -> None:
    job_id = installed.osq("enqueue", "true").stdout.strip()

    worker = installed.osq("worker", "--burst")

    assert worker.returncode == 0, worker.stderr
    assert installed.osq("wait", job_id).returncode == 0


def test_commands_run_without_a_broker_next_to_the_users_package(installed: Installed) -> None:
    program = "from oneshot_queue import run_commands; print(*(each.state for each in run_commands([['true']])))"

    done = installed.run("-c", program)

    assert done.stdout.strip().endswith("COMPLETED"), done.stderr
