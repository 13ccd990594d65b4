"""The bytes that cross Redis: one version byte, then msgpack, read with suspicion.

Whoever can write to Redis can write these bytes. Their size is checked before they are unpacked (1 MB of msgpack can
become 64 MB of objects), every length inside is limited, and what comes out must fit its schema exactly: a field that
is unknown, missing or of another kind makes the whole message malformed. Only a worker's sign of life may have fields
that are newer than its reader, or lack those that are newer than its writer: fleets are upgraded one by one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgpack

from oneshot_queue.checks import (
    MAX_ARGUMENT_BYTES,
    MAX_ARGUMENTS,
    MAX_ENV_VARIABLES,
)
from oneshot_queue.errors import MalformedData

VERSION: Final = 1


def pack(value: Any) -> bytes:
    """Pack a value behind the version byte."""
    packed: bytes = msgpack.packb(value, use_bin_type=True)
    return bytes([VERSION]) + packed


def unpack(what: str, raw: bytes, limit: int) -> dict[str, Any]:
    """Unpack a map of named fields.

    Args:
        what: Names the data in errors.
        limit: Bytes that ``raw`` may have.

    Raises:
        MalformedData: ``raw`` is too long, of another version, or not such a map.
    """
    value = unpack_any(what, raw, limit)
    if not isinstance(value, dict) or not all(isinstance(name, str) for name in value):
        raise MalformedData(what, "is no map of named fields")
    return value


def unpack_any(what: str, raw: bytes, limit: int) -> Any:
    """Unpack any value; like ``unpack`` otherwise."""
    if len(raw) > limit:
        raise MalformedData(what, f"has {len(raw)} bytes; the limit is {limit}")
    if not raw or raw[0] != VERSION:
        found = f"version {raw[0]}" if raw else "nothing"
        raise MalformedData(what, f"{found} where version {VERSION} was expected; upgrade the older party")
    try:
        return msgpack.unpackb(
            raw[1:],
            raw=False,
            strict_map_key=True,
            max_str_len=MAX_ARGUMENT_BYTES,
            max_bin_len=MAX_ARGUMENT_BYTES,
            max_array_len=MAX_ARGUMENTS,
            max_map_len=MAX_ENV_VARIABLES,
            max_ext_len=0,
        )
    except (ValueError, TypeError, OverflowError, RecursionError, msgpack.UnpackException) as error:
        raise MalformedData(what, f"is no msgpack within the limits ({type(error).__name__})") from None


def as_int(value: object) -> int:
    """Return a whole number, or raise ``TypeError``."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{type(value).__name__} where a whole number was expected")
    return value


def as_bytes(value: object) -> bytes:
    """Return bytes, or raise ``TypeError``."""
    if not isinstance(value, bytes):
        raise TypeError(f"{type(value).__name__} where bytes were expected")
    return value


def is_a(*kinds: type) -> Callable[[object], bool]:
    """Return a check for these types; ``bool`` does not count as ``int``."""
    return lambda value: isinstance(value, kinds) and not (isinstance(value, bool) and bool not in kinds)


def list_of(*kinds: type) -> Callable[[object], bool]:
    """Return a check for a list of these types."""
    return lambda value: isinstance(value, list) and all(isinstance(item, kinds) for item in value)


def map_of(key: type, item: type) -> Callable[[object], bool]:
    """Return a check for a map from one type to another."""
    return lambda value: (
        isinstance(value, dict) and all(isinstance(k, key) and isinstance(v, item) for k, v in value.items())
    )
