"""The table of cases says what the marks of the tests say."""

from __future__ import annotations

import pytest

from tests.support.cases import CASES, MISSING, case, main, proofs


def test_every_case_has_a_test_or_a_reason_why_not() -> None:
    proven = {name for name, tests in proofs().items() if tests}

    assert proven == set(CASES) - set(MISSING)


def test_a_case_that_is_none_cannot_be_proven() -> None:
    with pytest.raises(ValueError, match="no such case: Q9"):
        case("D1", "Q9")


def test_each_case_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    main()

    assert {line.split()[0] for line in capsys.readouterr().out.splitlines()} == set(CASES)
