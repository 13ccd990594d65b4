r"""Escapes untrusted text for a terminal. Pure: no I/O.

A job's name, command, error and output can hold any bytes, and a terminal acts on some of them: they can retitle
windows, hide or forge lines, or send keystrokes. Such characters are shown as ``\xNN`` or ``\uNNNN`` instead: C0 and C1
controls (also the raw byte 0x9b, a one-byte ``ESC [``), characters that change the text direction or have no width,
line separators, surrogates, and bytes that are not UTF-8.
"""

from __future__ import annotations

import codecs
import re
from typing import Final

# Every character of the Unicode categories Cc, Cf, Cs, Zl and Zp; a test compares it with unicodedata. Unassigned
# characters between them are included: a later version of Unicode may assign them.
_UNSAFE: Final = (
    "\x00-\x1f\x7f-\x9f\xad\u0600-\u0605\u061c\u06dd\u070f\u0890-\u0891\u08e2\u180e\u200b-\u200f\u2028-\u202e"
    "\u2060-\u206f\ud800-\udfff\ufeff\ufff9-\ufffb\U000110bd\U000110cd\U00013430-\U0001345f\U0001bca0-\U0001bca3"
    "\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)
_IN_LINES: Final = re.compile(f"[{_UNSAFE}]")
# Colours (SGR) and the three layout characters pass in output.
_MAX_SGR_CHARS: Final = 48
_IN_OUTPUT: Final = re.compile(rf"(\x1b\[[0-9;:]{{0,{_MAX_SGR_CHARS}}}m)|([{_UNSAFE}])")
_UNFINISHED_SGR: Final = re.compile(rf"\x1b(?:\[[0-9;:]{{0,{_MAX_SGR_CHARS}}})?\Z")
_LAYOUT: Final = frozenset("\n\t\r")
_RESET: Final = "\x1b[0m"


def escaped(text: str) -> str:
    """Escape a text for one line of a table or a message."""
    return _IN_LINES.sub(lambda match: _shown(match[0]), text)


class OutputEscaper:
    """Escapes a stream of output bytes chunk by chunk; colours and line layout stay.

    A character or colour that is split across chunks is held back until the rest arrives.
    """

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("backslashreplace")
        self._held = ""
        self._is_coloured = False

    def feed(self, data: bytes) -> str:
        """Escape the next chunk."""
        text = self._held + self._decoder.decode(data)
        unfinished = _UNFINISHED_SGR.search(text)
        start = unfinished.start() if unfinished else len(text)
        self._held = text[start:]
        return _IN_OUTPUT.sub(self._passed, text[:start])

    def end(self) -> str:
        """Return what was held back, and a reset if a colour would otherwise leak into the prompt."""
        text = self._held + self._decoder.decode(b"", final=True)
        self._held = ""
        rest = _IN_OUTPUT.sub(self._passed, text)
        if self._is_coloured:
            self._is_coloured = False
            rest += _RESET
        return rest

    def _passed(self, match: re.Match[str]) -> str:
        colour: str | None = match[1]
        if colour is not None:
            self._is_coloured = colour not in (_RESET, "\x1b[m")
            return colour
        return match[0] if match[0] in _LAYOUT else _shown(match[0])


def _shown(character: str) -> str:
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code - 0xDC00:02x}"  # os.fsdecode's stand-in for a byte that is not UTF-8
    if code <= 0xFF:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"
