"""When and what the Makefile installs. A fake uv records its calls."""

import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tests.support.limits import limit_s
from tests.support.repository import ROOT

TOOLS = ("cat", "echo", "env", "ln", "make", "mkdir", "rm", "sh", "touch")
pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="the tests were started without make")


class Machine:
    """A copy of the project's set-up files, and a PATH with only the programs that the test adds."""

    def __init__(self, folder: Path) -> None:
        self.project = folder / "project"
        self.bin = folder / "bin"
        self.calls = folder / "calls"
        self.bin.mkdir(parents=True)
        (self.project / ".ci").mkdir(parents=True)
        for name in ("Makefile", "requirements.txt", "pyproject.toml", ".ci/install"):
            shutil.copy2(ROOT / name, self.project / name)
        for tool in TOOLS:
            found = shutil.which(tool)
            assert found, tool
            (self.bin / tool).symlink_to(found)

    def add(self, name: str, script: str) -> None:
        path = self.bin / name
        path.write_text("#!/bin/sh\n" + textwrap.dedent(script).strip() + "\n")
        path.chmod(0o755)

    def add_python(self) -> None:
        (self.bin / "python3").symlink_to(sys.executable)

    def add_uv(self) -> None:
        self.add(
            "uv",
            f"""
            echo "$@" >> '{self.calls}'
            case "$1 $*" in
            venv*) mkdir -p .venv/bin; ln -s '{sys.executable}' .venv/bin/python; touch .venv/half ;;
            *--editable*) [ ! -e broken ] ;;
            esac
            """,
        )

    def make(self, *goals: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [str(self.bin / "make"), *goals],
            cwd=self.project,
            env={"PATH": str(self.bin), "HOME": str(self.project)},
            capture_output=True,
            text=True,
            timeout=limit_s(50),
            check=False,
        )

    def calls_of_uv(self) -> list[str]:
        return self.calls.read_text().splitlines() if self.calls.exists() else []


LOCAL = ".venv/installed-local"
DEV = ".venv/installed-dev"


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


@pytest.fixture
def machine_with_uv(machine: Machine) -> Machine:
    machine.add_python()
    machine.add_uv()
    return machine


def test_make_alone_lists_the_tasks_and_installs_nothing(machine: Machine) -> None:
    done = machine.make()

    assert done.returncode == 0
    assert all(f"make {verb}" in done.stdout for verb in ("demo", "test", "test-all", "check", "bench", "outdated"))
    assert not (machine.project / ".venv").exists()


def test_pinned_wheels_are_installed(machine_with_uv: Machine) -> None:
    done = machine_with_uv.make(LOCAL)

    assert done.returncode == 0, done.stderr
    venv, backend, project = machine_with_uv.calls_of_uv()
    assert venv.startswith("venv ")
    assert "--only-binary :all:" in backend
    assert backend.endswith("--constraint requirements.txt setuptools")
    assert "--only-binary :all:" in project
    assert project.endswith("--constraint requirements.txt --no-build-isolation --editable .[local]")


def test_second_run_installs_nothing(machine_with_uv: Machine) -> None:
    machine_with_uv.make(DEV)
    before = machine_with_uv.calls_of_uv()

    done = machine_with_uv.make(DEV, LOCAL)

    assert done.returncode == 0, done.stderr
    assert machine_with_uv.calls_of_uv() == before


def test_tests_need_more_than_the_demo_and_add_only_that(machine_with_uv: Machine) -> None:
    machine_with_uv.make(LOCAL)

    machine_with_uv.make(DEV)

    asked = machine_with_uv.calls_of_uv()
    assert asked[-1].endswith(".[dev]")
    assert sum(line.startswith("venv ") for line in asked) == 1


@pytest.mark.parametrize("changed", ["requirements.txt", "pyproject.toml"])
def test_changed_pins_are_installed(machine_with_uv: Machine, changed: str) -> None:
    machine_with_uv.make(LOCAL)
    before = machine_with_uv.calls_of_uv()
    newer = (machine_with_uv.project / LOCAL).stat().st_mtime + 5
    os.utime(machine_with_uv.project / changed, (newer, newer))

    machine_with_uv.make(LOCAL)

    assert len(machine_with_uv.calls_of_uv()) > len(before)


def test_interrupted_install_starts_again_from_the_beginning(machine_with_uv: Machine) -> None:
    (machine_with_uv.project / "broken").touch()
    assert machine_with_uv.make(LOCAL).returncode != 0
    assert not (machine_with_uv.project / LOCAL).exists()
    (machine_with_uv.project / "broken").unlink()

    done = machine_with_uv.make(LOCAL)

    assert done.returncode == 0, done.stderr
    assert sum(line.startswith("venv ") for line in machine_with_uv.calls_of_uv()) == 2


def test_interrupted_update_starts_again_from_the_beginning(machine_with_uv: Machine) -> None:
    machine_with_uv.make(LOCAL)
    (machine_with_uv.project / "broken").touch()
    assert machine_with_uv.make(DEV).returncode != 0
    (machine_with_uv.project / "broken").unlink()

    machine_with_uv.make(DEV)

    assert sum(line.startswith("venv ") for line in machine_with_uv.calls_of_uv()) == 2


def test_moved_folder_gets_a_new_environment(machine_with_uv: Machine) -> None:
    machine_with_uv.make(LOCAL)
    machine_with_uv.project = machine_with_uv.project.rename(machine_with_uv.project.with_name("elsewhere"))

    done = machine_with_uv.make(LOCAL)

    assert done.returncode == 0, done.stderr
    assert sum(line.startswith("venv ") for line in machine_with_uv.calls_of_uv()) == 2


def test_environment_whose_python_is_gone_is_created_again(machine_with_uv: Machine) -> None:
    machine_with_uv.make(LOCAL)
    (machine_with_uv.project / ".venv/bin/python").unlink()

    done = machine_with_uv.make(LOCAL)

    assert done.returncode == 0, done.stderr
    assert (machine_with_uv.project / ".venv/bin/python").exists()


def test_naming_another_interpreter_replaces_the_environment(machine_with_uv: Machine) -> None:
    machine_with_uv.make(LOCAL)
    machine_with_uv.add("other-python", _python_that(""))

    done = machine_with_uv.make(LOCAL, "PYTHON=other-python")

    assert done.returncode == 0, done.stderr
    assert sum(line.startswith("venv ") for line in machine_with_uv.calls_of_uv()) == 2


def test_naming_the_same_interpreter_installs_nothing(machine_with_uv: Machine) -> None:
    machine_with_uv.make(LOCAL)
    before = machine_with_uv.calls_of_uv()

    done = machine_with_uv.make(LOCAL, "PYTHON=python3")

    assert done.returncode == 0, done.stderr
    assert machine_with_uv.calls_of_uv() == before


def test_missing_ensurepip_is_reported_with_the_package_to_install(machine: Machine) -> None:
    machine.add("python3", _python_that("*ensurepip*) exit 1 ;;"))

    done = machine.make(LOCAL)

    assert done.returncode != 0
    assert "apt-get install python3-venv" in done.stderr
    assert not (machine.project / ".venv").exists()


def test_incomplete_environment_is_removed(machine: Machine) -> None:
    machine.add("python3", _python_that('"-m venv .venv") mkdir .venv; exit 1 ;;'))

    done = machine.make(LOCAL)

    assert done.returncode != 0
    assert "apt-get install python3-venv" in done.stderr
    assert not (machine.project / ".venv").exists()


def test_uv_needs_no_venv_module(machine: Machine) -> None:
    machine.add("python3", _python_that('*ensurepip*|"-m venv .venv") exit 1 ;;'))
    machine.add_uv()

    done = machine.make(LOCAL)

    assert done.returncode == 0, done.stderr


def test_old_python_is_refused_by_name(machine: Machine) -> None:
    machine.add("python3", _python_that("*version_info*) exit 1 ;; --version) echo Python 3.9.2; exit ;;"))

    done = machine.make(LOCAL)

    assert done.returncode != 0
    assert "Python 3.9.2 is too old: 3.11 or newer is needed" in done.stderr


def test_missing_python_is_reported(machine: Machine) -> None:
    done = machine.make(LOCAL, "PYTHON=python3.99")

    assert done.returncode != 0
    assert "Cannot find python3.99" in done.stderr


def _python_that(cases: str) -> str:
    return f"""
        case "$*" in
        *_base_executable*) echo "$0"; exit ;;
        {cases}
        esac
        exec '{sys.executable}' "$@"
    """
