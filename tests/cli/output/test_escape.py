"""Escaped text and output cannot act on a terminal."""

from __future__ import annotations

import re
import sys
import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from oneshot_queue.cli.output.escape import OutputEscaper, escaped

_UNSAFE = {"Cc", "Cf", "Cs", "Zl", "Zp"}
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


def _escaped(data: bytes) -> str:
    output = OutputEscaper()
    return output.feed(data) + output.end()


def test_every_unsafe_character_is_escaped() -> None:
    for code in range(sys.maxunicode + 1):
        character = chr(code)
        if unicodedata.category(character) in _UNSAFE:
            shown = escaped(character)
            assert shown.isascii(), hex(code)
            assert shown.isprintable(), hex(code)


def test_printable_text_is_unchanged() -> None:
    for text in ("plain", "é 日本語 ✓ \u00a0", "a\\x1b", "👍🏽"):
        assert escaped(text) == text


def test_a_byte_that_is_not_utf8_is_shown_as_that_byte() -> None:
    assert escaped("a\udcffb") == "a\\xffb"


@given(st.text(st.characters()))
def test_an_escaped_message_is_one_safe_line(text: str) -> None:
    assert not any(unicodedata.category(each) in _UNSAFE for each in escaped(text))


@given(_OUTPUT)
def test_only_colours_and_layout_pass_in_output(data: bytes) -> None:
    rest = _COLOUR.sub("", _escaped(data))

    assert not any(unicodedata.category(each) in _UNSAFE for each in rest if each not in "\n\r\t")


@given(_OUTPUT, st.lists(st.integers(min_value=0, max_value=200)))
def test_chunk_borders_make_no_difference(data: bytes, borders: list[int]) -> None:
    output, shown, begins = OutputEscaper(), "", 0
    for border in sorted(borders):
        shown += output.feed(data[begins:border])
        begins = max(begins, border)
    shown += output.feed(data[begins:]) + output.end()

    assert shown == _escaped(data)


# Unassigned characters and the tags plane may be escaped; visible characters must not be.
@given(st.text(st.characters(exclude_categories=("Cc", "Cf", "Cn", "Cs", "Zl", "Zp"), max_codepoint=0xDFFFF)))
def test_safe_output_is_unchanged(text: str) -> None:
    assert _escaped(text.encode()) == text


def test_an_open_colour_is_reset() -> None:
    assert _escaped(b"\x1b[31mred") == "\x1b[31mred\x1b[0m"
    assert _escaped(b"\x1b[31mred\x1b[0m") == "\x1b[31mred\x1b[0m"
    assert _escaped(b"\x1b[31mred\x1b[m") == "\x1b[31mred\x1b[m"


def test_an_endless_sequence_is_not_held_back() -> None:
    output = OutputEscaper()

    shown = output.feed(b"\x1b[" + b"1" * 10_000)

    assert shown == "\\x1b[" + "1" * 10_000


def test_a_sequence_split_across_chunks_is_joined() -> None:
    output = OutputEscaper()

    assert [output.feed(b"a\x1b[3"), output.feed(b"1mb"), output.end()] == ["a", "\x1b[31mb", "\x1b[0m"]
    assert [output.feed(b"\xe6\x97"), output.feed(b"\xa5"), output.end()] == ["", "日", ""]
    assert [output.feed(b"\x1b"), output.end()] == ["", "\\x1b"]
