"""What a stranger's text may still do to a terminal: nothing."""

from __future__ import annotations

import re
import sys
import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from oneshot_queue.cli.output.escape import TerminalOutput, escaped

_ACTS_OR_HIDES = {"Cc", "Cf", "Cs", "Zl", "Zp"}
_COLOUR = re.compile(r"\x1b\[[0-9;:]*m")
_PIECES = st.sampled_from(
    [
        b"\x1b[31m",
        b"\x1b[0m",
        b"\x1b[",
        b"\x1b",
        b"3",
        b";",
        b"1m",
        b"m",
        b"J",
        b"\x9b",
        b"\xc2\x9b",
        b"\xc3",
        b"\xa9",
        "é".encode(),
        "日".encode(),
        "\u202e".encode(),
        "\u200b".encode(),
        b"\xff",
        b"\n",
        b"\r",
        b"\t",
        b"\x07",
        b"ab",
    ]
)
_OUTPUT = st.lists(st.one_of(_PIECES, st.binary(max_size=8)), max_size=30).map(b"".join)


def _whole(data: bytes) -> str:
    output = TerminalOutput()
    return output.feed(data) + output.end()


def test_every_character_that_acts_or_hides_is_escaped() -> None:
    for code in range(sys.maxunicode + 1):
        character = chr(code)
        if unicodedata.category(character) in _ACTS_OR_HIDES:
            shown = escaped(character)
            assert shown.isascii(), hex(code)
            assert shown.isprintable(), hex(code)


def test_what_only_shows_stays() -> None:
    for text in ("plain", "é 日本語 ✓ \u00a0", "a\\x1b", "👍🏽"):
        assert escaped(text) == text


def test_a_byte_that_was_no_utf8_shows_as_that_byte() -> None:
    assert escaped("a\udcffb") == "a\\xffb"


@given(st.text(st.characters()))
def test_a_message_is_one_harmless_line(text: str) -> None:
    assert not any(unicodedata.category(each) in _ACTS_OR_HIDES for each in escaped(text))


@given(_OUTPUT)
def test_of_output_only_colours_and_layout_pass(data: bytes) -> None:
    rest = _COLOUR.sub("", _whole(data))

    assert not any(unicodedata.category(each) in _ACTS_OR_HIDES for each in rest if each not in "\n\r\t")


@given(_OUTPUT, st.lists(st.integers(min_value=0, max_value=200)))
def test_where_the_chunks_end_makes_no_difference(data: bytes, borders: list[int]) -> None:
    output, shown, begins = TerminalOutput(), "", 0
    for border in sorted(borders):
        shown += output.feed(data[begins:border])
        begins = max(begins, border)
    shown += output.feed(data[begins:]) + output.end()

    assert shown == _whole(data)


# Unassigned characters and the plane of tags may be escaped; what a person can see must not be.
@given(st.text(st.characters(exclude_categories=("Cc", "Cf", "Cn", "Cs", "Zl", "Zp"), max_codepoint=0xDFFFF)))
def test_output_that_is_harmless_stays_as_it_is(text: str) -> None:
    assert _whole(text.encode()) == text


def test_a_colour_that_was_not_ended_is_ended() -> None:
    assert _whole(b"\x1b[31mred") == "\x1b[31mred\x1b[0m"
    assert _whole(b"\x1b[31mred\x1b[0m") == "\x1b[31mred\x1b[0m"
    assert _whole(b"\x1b[31mred\x1b[m") == "\x1b[31mred\x1b[m"


def test_a_sequence_that_never_ends_is_not_kept_back_for_ever() -> None:
    output = TerminalOutput()

    shown = output.feed(b"\x1b[" + b"1" * 10_000)

    assert shown == "\\x1b[" + "1" * 10_000


def test_a_sequence_cut_in_two_is_whole_again() -> None:
    output = TerminalOutput()

    assert [output.feed(b"a\x1b[3"), output.feed(b"1mb"), output.end()] == ["a", "\x1b[31mb", "\x1b[0m"]
    assert [output.feed(b"\xe6\x97"), output.feed(b"\xa5"), output.end()] == ["", "日", ""]
    assert [output.feed(b"\x1b"), output.end()] == ["", "\\x1b"]
