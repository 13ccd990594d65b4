"""One version byte, then msgpack within limits; and checks that an unpacked value has its type."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, get_args, get_origin

import msgpack

from oneshot_queue.checks import MAX_ARGUMENT_BYTES, MAX_ARGUMENTS, MAX_ENV_VARIABLES
from oneshot_queue.errors import MalformedData

VERSION: Final = 1


def pack(value: Any) -> bytes:
    """Return the version byte and the packed value."""
    packed: bytes = msgpack.packb(value, use_bin_type=True)
    return bytes([VERSION]) + packed


def unpack(what: str, raw: bytes, limit: int) -> dict[str, Any]:
    """Unpack a map of named fields.

    Args:
        what: The name of the data, for errors.
        limit: The largest size of ``raw`` in bytes.

    Raises:
        MalformedData: ``raw`` is too long, has another version, or is not such a map.
    """
    value = unpack_any(what, raw, limit)
    if not isinstance(value, dict) or not all(isinstance(name, str) for name in value):
        raise MalformedData(what, "is not a map of named fields")
    return value


def unpack_any(what: str, raw: bytes, limit: int) -> Any:
    """Unpack a value of any type; otherwise the same as ``unpack``."""
    if len(raw) > limit:
        raise MalformedData(what, f"has {len(raw)} bytes; the limit is {limit}")
    if not raw or raw[0] != VERSION:
        found = f"has version {raw[0]}" if raw else "is empty"
        raise MalformedData(what, f"{found}, expected version {VERSION}; upgrade the older of client and worker")
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
        raise MalformedData(what, f"is not msgpack within the limits ({type(error).__name__})") from None


def as_int(value: object) -> int:
    """Return the value if it is a whole number; raise ``TypeError`` otherwise."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"expected a whole number, not {type(value).__name__}")
    return value


def as_bytes(value: object) -> bytes:
    """Return the value if it is bytes; raise ``TypeError`` otherwise."""
    if not isinstance(value, bytes):
        raise TypeError(f"expected bytes, not {type(value).__name__}")
    return value


def fits(kind: Any) -> Callable[[object], bool]:
    """Return a check whether an unpacked value has this type; ``bool`` does not fit ``int``.

    Args:
        kind: A class, a union of classes, ``list[…]`` or ``dict[…, …]`` of them.
    """
    origin, inner = get_origin(kind), get_args(kind)
    if origin is list:
        return _list_of(get_args(inner[0]) or inner)
    if origin is dict:
        return _map_of(*inner)
    return _is_a(inner or (kind,))


def _is_a(kinds: tuple[type, ...]) -> Callable[[object], bool]:
    return lambda value: isinstance(value, kinds) and not (isinstance(value, bool) and bool not in kinds)


def _list_of(kinds: tuple[type, ...]) -> Callable[[object], bool]:
    return lambda value: isinstance(value, list) and all(isinstance(item, kinds) for item in value)


def _map_of(key: type, item: type) -> Callable[[object], bool]:
    return lambda value: (
        isinstance(value, dict) and all(isinstance(k, key) and isinstance(v, item) for k, v in value.items())
    )
