"""The bytes that cross Redis: one version byte, then msgpack, read with suspicion.

Whoever can write to Redis can write these bytes. Their size is checked before they are unpacked (1 MB of msgpack can
become 64 MB of objects), every length inside is limited, and what comes out must fit its schema exactly: a field that
is unknown, missing or of another kind makes the whole message malformed. Only a worker's sign of life may have fields
that are newer than its reader, or lack those that are newer than its writer: fleets are upgraded one by one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from oneshot_queue.checks import (
    MAX_COMMAND_BYTES,
    MAX_ENV_BYTES,
    os_bytes,
    os_text,
)
from oneshot_queue.errors import InvalidJob, MalformedData
from oneshot_queue.spec import (
    DEFAULT_GRACE_S,
    DEFAULT_IDLE_AFTER_S,
    DEFAULT_RETRY_DELAY_S,
    DEFAULT_RETRY_MAX_DELAY_S,
    DEFAULT_RETRY_ON,
    JobSpec,
    Priority,
)
from oneshot_queue.wire.packing import is_a, list_of, map_of, pack, unpack

MAX_SPEC_BYTES: Final = MAX_COMMAND_BYTES + MAX_ENV_BYTES + 131_072


def pack_spec(spec: JobSpec) -> bytes:
    """Pack all of a spec but its stdin, which has a key of its own. What equals its default is left out."""
    fields: dict[str, Any] = {"command": spec.argv}
    if spec.env:
        fields["env"] = {os_bytes(name): os_bytes(value) for name, value in spec.env.items()}
    if spec.cwd is not None:
        fields["cwd"] = os_bytes(spec.cwd)
    if spec.stdin is not None:
        fields["stdin"] = True
    for name, default in _PLAIN_DEFAULTS.items():
        value = getattr(spec, name)
        if value is not default and value != default:
            fields[name] = value
    return pack(fields)


def unpack_spec(raw: bytes, stdin: bytes = b"") -> JobSpec:
    """Read a spec back; ``stdin`` is what its own key held.

    Raises:
        MalformedData: The bytes are no spec of this version, or a field is not what it may be.
    """
    fields = unpack("job spec", raw, MAX_SPEC_BYTES)
    unknown = fields.keys() - _SPEC_KINDS.keys()
    if unknown or "command" not in fields:
        raise MalformedData("job spec", f"unknown fields {sorted(unknown)}" if unknown else "has no command")
    for name, value in fields.items():
        if not _SPEC_KINDS[name](value):
            raise MalformedData("job spec", f"field {name} is a {type(value).__name__}")
    if fields.pop("stdin", False):
        fields["stdin"] = stdin
    if "cwd" in fields:
        fields["cwd"] = os_text(fields["cwd"])
    if "env" in fields:
        fields["env"] = {os_text(name): os_text(value) for name, value in fields["env"].items()}
    fields["command"] = tuple(_text_or_bytes(word) for word in fields["command"])
    try:
        return JobSpec(**fields)
    except InvalidJob as refused:
        raise MalformedData("job spec", str(refused)) from None


def _text_or_bytes(word: bytes) -> str | bytes:
    try:
        return word.decode()
    except UnicodeDecodeError:
        return word


_PLAIN_DEFAULTS: Final[Mapping[str, Any]] = {
    "name": None,
    "labels": {},
    "priority": Priority.NORMAL,
    "time_limit": None,
    "idle_after": DEFAULT_IDLE_AFTER_S,
    "idle_timeout": None,
    "grace": DEFAULT_GRACE_S,
    "success_codes": (0,),
    "pty": False,
    "retries": 0,
    "retry_on": DEFAULT_RETRY_ON,
    "retry_delay": DEFAULT_RETRY_DELAY_S,
    "retry_max_delay": DEFAULT_RETRY_MAX_DELAY_S,
    "exclusive": False,
    "retry_of": None,
}
_DURATION = is_a(int, float, type(None))
_SPEC_KINDS: Final[Mapping[str, Callable[[object], bool]]] = {
    "command": list_of(bytes),
    "name": is_a(str),
    "cwd": is_a(bytes),
    "env": map_of(bytes, bytes),
    "labels": map_of(str, str),
    "priority": is_a(str),
    "stdin": is_a(bool),
    "time_limit": _DURATION,
    "idle_after": _DURATION,
    "idle_timeout": _DURATION,
    "grace": _DURATION,
    "success_codes": list_of(int),
    "pty": is_a(bool),
    "retries": is_a(int),
    "retry_on": list_of(str, int),
    "retry_delay": is_a(int, float),
    "retry_max_delay": is_a(int, float),
    "exclusive": is_a(bool),
    "retry_of": is_a(str),
}
