"""The repository's files, for the tests that check them; git is not needed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
_MADE = frozenset({".git", ".venv", "__pycache__", "build", "dist"})
_MADE_ENDINGS = (".egg-info", "_cache", ".hypothesis")


def files() -> Iterator[Path]:
    """Every file that belongs to the repository, not what tools left in its folder."""
    yield from _files(ROOT)


def _files(folder: Path) -> Iterator[Path]:
    for entry in sorted(folder.iterdir()):
        if entry.name in _MADE or entry.name.endswith(_MADE_ENDINGS):
            continue
        if entry.is_dir():
            yield from _files(entry)
        else:
            yield entry
