"""The catalogue of faults and the tests agree."""

from __future__ import annotations

import pytest

from tests.support.cases import CASES, MISSING, case, main, proofs


def test_every_case_has_a_test_or_a_reason_for_having_none() -> None:
    proven = {name for name, tests in proofs().items() if tests}

    assert proven == set(CASES) - set(MISSING)


def test_every_case_is_one_sentence() -> None:
    assert [name for name, text in CASES.items() if ": " not in text or not text.endswith(".")] == []


def test_unknown_case_is_refused() -> None:
    with pytest.raises(ValueError, match="no such case: Q9"):
        case("D1", "Q9")


@pytest.mark.thorough
def test_every_case_is_printed_with_its_sentence_and_its_tests(capsys: pytest.CaptureFixture[str]) -> None:
    main()

    printed = capsys.readouterr().out
    assert all(f"{name:4} {text}\n" in printed for name, text in CASES.items())
    assert all(f"     - {test}\n" in printed for tests in proofs().values() for test in tests)
