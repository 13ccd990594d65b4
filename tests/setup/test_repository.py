"""Checks of the repository's files as a whole."""

import re

import oneshot_queue
from tests.support.repository import ROOT, files

# Host names of registries, written so that this file does not match. The machine decides which registry is used.
REGISTRY = re.compile(
    r"\b(?:py(?:pi|thonhosted)|npm(?:js|mirror)|anaconda|ghcr|quay|gcr|dock(?:er|erhub))[.](?:org|com|io|python[.]org)\b"
    r"|\b(?:deb|security|ftp)[.]debian[.]|\bproxy[.]golang"
)
INDEX_OPTION = re.compile(r"--(?:extra-)?index-url|--default-index|--find-links|\bindex-url\s*=|\[\[?tool[.]uv[.]index")
LOCKS = {"uv.lock", "poetry.lock", "pdm.lock", "pylock.toml", "Pipfile.lock", "package-lock.json"}


def test_no_file_names_a_package_registry() -> None:
    named = []
    for path in files():
        text = path.read_text(errors="replace")
        named += [f"{path.relative_to(ROOT)}: {found.group()}" for found in REGISTRY.finditer(text)]
        if path.name != "test_repository.py":
            named += [f"{path.relative_to(ROOT)}: {found.group()}" for found in INDEX_OPTION.finditer(text)]

    assert not named


def test_there_is_no_lock_file() -> None:
    assert not [path.name for path in files() if path.name in LOCKS]


def test_version_is_a_literal_in_one_file() -> None:
    version = oneshot_queue.__version__
    literal = re.compile(rf"(?<![\w.=<>~]){re.escape(version)}(?![\w.])")

    kinds = {".py", ".toml", ".yml", ".txt", ""}
    places = [path for path in files() if path.suffix in kinds and literal.search(path.read_text(errors="replace"))]

    assert [path.relative_to(ROOT).as_posix() for path in places] == ["oneshot_queue/_version.py"]


def test_license_is_mit() -> None:
    text = (ROOT / "LICENSE").read_text()

    assert text.startswith("MIT License")
    assert "oneshot-queue contributors" in text


def test_ci_runs_make_check_and_then_the_thorough_tests() -> None:
    lines = (ROOT / ".ci" / "run").read_text().splitlines()

    goals = [line for line in lines if line.startswith("make ")]

    assert goals == ["make check", "make thorough"]


def test_readme_starts_with_the_two_commands() -> None:
    readme = (ROOT / "README.md").read_text()

    assert "make demo" in readme
    assert "make test" in readme


def test_changelog_has_a_section_for_the_version_or_for_unreleased_changes() -> None:
    text = (ROOT / "CHANGELOG.md").read_text()

    assert f"## [{oneshot_queue.__version__}]" in text or "## [Unreleased]" in text


def test_every_decision_is_numbered_once() -> None:
    decisions = sorted((ROOT / "docs" / "decisions").glob("[0-9]*.md"))

    numbers = [re.match(r"(\d{3})-[a-z0-9-]+\.md$", path.name) for path in decisions]

    assert None not in numbers
    assert len({match.group(1) for match in numbers if match}) == len(decisions)
