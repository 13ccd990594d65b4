"""Which test proves which case of the catalogue of faults: ``python -m tests.support.cases`` prints it.

A test names its cases with ``@case("N3")``, wherever it stands. ``MISSING`` says of every other case why it has no
test; a test holds this table against the marks.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

_TESTS: Final = Path(__file__).parent.parent


def _numbered(letter: str, *numbers: int) -> dict[str, None]:
    return {f"{letter}{number}": None for number in numbers}


CASES: Final = tuple(
    _numbered("D", *range(1, 19))
    | _numbered("N", *range(1, 16))
    | _numbered("P", *range(1, 7), *range(8, 13), *range(14, 19), 20)
    | _numbered("R", *range(1, 9), *range(10, 16))
    | _numbered("V", *range(7, 11))
)
"""Delivery, interrupts, processes, Redis and malformed data, numbered as in the catalogue."""

MISSING: Final[dict[str, str]] = {}
"""Cases without a test -> why."""


def case(*names: str) -> pytest.MarkDecorator:
    """Mark a test as a proof of these cases.

    Raises:
        ValueError: There is no such case.
    """
    if unknown := [name for name in names if name not in CASES]:
        raise ValueError(f"no such case: {', '.join(unknown)}")
    return pytest.mark.case(*names)


def proofs() -> dict[str, list[str]]:
    """Case -> the tests that prove it, read from their files."""
    found: dict[str, list[str]] = {name: [] for name in CASES}
    for path in sorted(_TESTS.rglob("test_*.py")):
        for function in ast.walk(ast.parse(path.read_bytes())):
            if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
                for name in _names(function):
                    found[name].append(f"{path.relative_to(_TESTS.parent)}::{function.name}")
    return found


def _names(function: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[str]:
    for mark in function.decorator_list:
        if isinstance(mark, ast.Call) and isinstance(mark.func, ast.Name) and mark.func.id == "case":
            yield from (str(word.value) for word in mark.args if isinstance(word, ast.Constant))


def main() -> None:
    """Print each case with its tests, and those that have none."""
    for name, tests in proofs().items():
        for shown in tests or [f"- {MISSING.get(name, 'no test, and nobody says why')}"]:
            print(f"{name:4} {shown}")  # noqa: T201 - this is its purpose


if __name__ == "__main__":
    main()
