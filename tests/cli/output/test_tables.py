"""Tables fit the terminal; plain columns can be split again."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from oneshot_queue.cli.output.tables import Column, cut, plain_columns, short_ids, table, text_width

_COLUMNS = [
    Column("ID"),
    Column("STATE"),
    Column("AGE", spare=2, is_right=True),
    Column("NAME", spare=1),
    Column("LAST"),
]
_CELLS = st.tuples(*[st.text("ab日é", min_size=1, max_size=11)] * 4, st.text("ab 日é", max_size=90))


def _unpainted(cell: str, title: str) -> str:
    del title
    return cell


@given(st.lists(_CELLS, max_size=5), st.integers(min_value=64, max_value=120))
def test_a_table_fits_its_width(rows: list[tuple[str, ...]], width: int) -> None:
    assert all(text_width(line) <= width for line in table(_COLUMNS, rows, width, _unpainted))


def test_optional_columns_are_dropped_in_order() -> None:
    rows = [("12345678", "RUNNING", "5m00s", "nightly", "make -j4 all of it")]

    titles = [table(_COLUMNS, rows, width, _unpainted)[0].split() for width in (80, 45, 36)]

    assert titles == [["ID", "STATE", "AGE", "NAME", "LAST"], ["ID", "STATE", "AGE", "LAST"], ["ID", "STATE", "LAST"]]


def test_cells_are_painted_with_the_title_of_their_column_and_titles_without() -> None:
    painted = table([Column("ID"), Column("LAST")], [("a", "b")], 40, lambda cell, title: f"<{title}:{cell}>")

    assert painted == ["<:ID>  <:LAST>", "<ID:a >  <LAST:b   >"]


def test_a_row_that_equals_the_titles_is_painted_as_a_row() -> None:
    painted = table([Column("ID"), Column("LAST")], [("ID", "LAST")], 40, lambda cell, title: f"{title}:{cell}")

    assert painted == [":ID  :LAST", "ID:ID  LAST:LAST"]


def test_plain_columns_do_not_cut_cells() -> None:
    rows = [("a", "日本", "x y"), ("abc", "b", "z" * 300)]

    assert plain_columns(rows) == ["a    日本  x y", f"abc  b     {'z' * 300}"]
    assert plain_columns([]) == []


@given(st.text("ab日é\u0301", max_size=30), st.integers(min_value=1, max_value=40))
def test_a_cut_text_fits_and_ends_in_an_ellipsis(text: str, width: int) -> None:
    shown = cut(text, width)

    assert text_width(shown) <= width
    assert shown == text or shown.endswith("…")


@given(st.lists(st.text("abc", min_size=1, max_size=16), unique=True, max_size=20))
def test_short_ids_are_unique(ids: list[str]) -> None:
    short = short_ids(ids, least=2)

    assert all(sum(other.startswith(short[each]) for other in ids) == 1 or short[each] == each for each in ids)
