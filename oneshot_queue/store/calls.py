"""A command or script as a value: the words to send, and how to read the reply.

A ``Call`` does no I/O. The asynchronous and the blocking connection carry out the same calls, so nothing about Redis is
written twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

import hiredis

from oneshot_queue.store.scripts import Script, script

T = TypeVar("T")
Word = str | bytes | int | float

_KEYLESS: Final = frozenset("ACL CLIENT CLUSTER CONFIG ECHO INFO LATENCY PING PUBLISH ROLE SCAN SCRIPT TIME".split())
_WITH_SUBCOMMAND: Final = frozenset("MEMORY OBJECT XGROUP XINFO".split())


@dataclass(frozen=True, slots=True)
class Call(Generic[T]):
    """One command, or one script with its keys and arguments.

    Attributes:
        words: The command and its arguments; for a script, what follows its digest: number of keys, keys, arguments.
        read: Converts Redis' reply into the typed answer.
        script: The script; ``None`` for a plain command.
    """

    words: tuple[Word, ...]
    read: Callable[[Any], T]
    script: Script | None = None

    @property
    def key(self) -> Word | None:
        """The first key, which determines the node in a cluster; ``None`` if any node will do."""
        if self.script is not None:
            return self.words[1]
        verb = str(self.words[0]).upper()
        if verb in _KEYLESS or len(self.words) < 2:
            return None
        return self.words[2] if verb in _WITH_SUBCOMMAND and len(self.words) > 2 else self.words[1]

    def command(self, *, whole_text: bool = False) -> tuple[Word, ...]:
        """Return the words to send: a script by digest, or with its whole text for a server that has not cached it."""
        if self.script is None:
            return self.words
        return ("EVAL", self.script.text, *self.words) if whole_text else ("EVALSHA", self.script.sha, *self.words)


def plain(*words: Word, read: Callable[[Any], T]) -> Call[T]:
    """Return a call of a plain Redis command."""
    return Call(words, read)


def scripted(name: str, keys: tuple[str, ...], args: tuple[Word, ...], read: Callable[[Any], T]) -> Call[T]:
    """Return a call of ``lua/<name>.lua``; ``keys`` begin with the queue's prefix."""
    return Call((len(keys), *keys, *args), read, script(name))


def packed(commands: Iterable[tuple[Word, ...]]) -> bytes:
    """Encode commands in the Redis protocol, as arrays of byte strings."""
    return b"".join(map(_packed_one, commands))


def _packed_one(words: tuple[Word, ...]) -> bytes:
    try:
        raw: bytes = hiredis.pack_command(words)  # type: ignore[arg-type]  # its stub allows one word only
    except UnicodeEncodeError:
        # A text may contain surrogates, which stand for bytes that are not UTF-8.
        return _packed_one(tuple(w.encode("utf-8", "replace") if isinstance(w, str) else w for w in words))
    return raw


def text(value: bytes | str) -> str:
    """Decode a reply as UTF-8; invalid bytes become U+FFFD."""
    return value if isinstance(value, str) else value.decode("utf-8", "replace")


def pairs(reply: Any) -> dict[bytes, bytes]:
    """Return a reply of alternating fields and values as a dict."""
    flat = iter(reply)
    return dict(zip(flat, flat, strict=True))
