"""The bytes that cross Redis: one version byte, then msgpack, read with suspicion.

Whoever can write to Redis can write these bytes. Their size is checked before they are unpacked (1 MB of msgpack can
become 64 MB of objects), every length inside is limited, and what comes out must fit its schema exactly: a field that
is unknown, missing or of another kind makes the whole message malformed. Only a worker's sign of life may have fields
that are newer than its reader, or lack those that are newer than its writer: fleets are upgraded one by one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgpack

from oneshot_queue.checks import (
    MAX_ARGUMENT_BYTES,
    MAX_ARGUMENTS,
    MAX_COMMAND_BYTES,
    MAX_ENV_BYTES,
    MAX_ENV_VARIABLES,
    os_bytes,
    os_text,
)
from oneshot_queue.errors import InvalidJob, MalformedData
from oneshot_queue.events import OutputStream
from oneshot_queue.jobs import (
    DEFAULT_GRACE_S,
    DEFAULT_IDLE_AFTER_S,
    DEFAULT_RETRY_DELAY_S,
    DEFAULT_RETRY_MAX_DELAY_S,
    DEFAULT_RETRY_ON,
    JobSpec,
    Priority,
)

VERSION: Final = 1
MAX_SPEC_BYTES: Final = MAX_COMMAND_BYTES + MAX_ENV_BYTES + 131_072
MAX_PRESENCE_BYTES: Final = 262_144
MAX_INLINE_BYTES: Final = 8_192
"""Longest packed output that travels with the end of a job (4 KiB of data and what describes it)."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """A piece of a job's output.

    Attributes:
        ordinal: Place among all chunks of the attempt, from 1.
        offset: Bytes that its stream had written before.
        at_ms: When the worker read it, ms since 1970 by Redis' clock.
    """

    ordinal: int
    stream: OutputStream
    offset: int
    at_ms: int
    data: bytes


@dataclass(frozen=True, slots=True)
class WorkerPresence:
    """A worker's sign of life, as it publishes it every few seconds.

    Attributes:
        id: Unique for this process.
        queues: The queues it takes jobs from.
        concurrency: Most jobs it runs at once; 0 once it takes no more.
        running: Ids of the jobs it runs now.
        only_job: The one job it exists for, if it takes no other.
        supervisor: An id that all worker processes of one supervisor share; empty if it has none.
        process: Its number among the ``processes`` of that supervisor, from 1.
        layer: What ends its jobs when it is killed: ``cgroup`` or ``subreaper``; empty if nothing does.
    """

    id: str
    name: str
    host: str
    pid: int
    queues: tuple[str, ...]
    concurrency: int
    running: tuple[str, ...]
    started_ms: int
    seen_ms: int
    only_job: str | None = None
    supervisor: str = ""
    process: int = 1
    processes: int = 1
    layer: str = ""

    def may_take(self, job_id: str | None = None) -> bool:
        """Whether it takes jobs, or at least this one."""
        return self.concurrency > 0 and self.only_job in (None, job_id)


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
    return _pack(fields)


def unpack_spec(raw: bytes, stdin: bytes = b"") -> JobSpec:
    """Read a spec back; ``stdin`` is what its own key held.

    Raises:
        MalformedData: The bytes are no spec of this version, or a field is not what it may be.
    """
    fields = _unpack("job spec", raw, MAX_SPEC_BYTES)
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


def pack_presence(presence: WorkerPresence) -> bytes:
    """Pack a worker's sign of life."""
    return _pack({name: getattr(presence, name) for name in _PRESENCE_KINDS})


def unpack_presence(raw: bytes) -> WorkerPresence:
    """Read a worker's sign of life back. Of a newer worker, fields that are not known here are ignored.

    Raises:
        MalformedData: The bytes are none of this version.
    """
    fields = _unpack("worker presence", raw, MAX_PRESENCE_BYTES)
    fields = {name: value for name, value in fields.items() if name in _PRESENCE_KINDS}
    if _PRESENCE_KINDS.keys() - _NEWER_PRESENCE - fields.keys():
        raise MalformedData("worker presence", f"has the fields {sorted(fields)}")
    for name, value in fields.items():
        if not _PRESENCE_KINDS[name](value):
            raise MalformedData("worker presence", f"field {name} is a {type(value).__name__}")
    fields["queues"], fields["running"] = tuple(fields["queues"]), tuple(fields["running"])
    return WorkerPresence(**fields)


def pack_chunks(chunks: list[Chunk]) -> bytes:
    """Pack the whole output of a job that wrote little."""
    return _pack([[each.ordinal, int(each.stream), each.offset, each.at_ms, each.data] for each in chunks])


def unpack_chunks(raw: bytes) -> list[Chunk]:
    """Read a small output back.

    Raises:
        MalformedData: The bytes are none of this version.
    """
    rows = _unpack_any("inline output", raw, MAX_INLINE_BYTES)
    try:
        return [
            Chunk(_int(ordinal), OutputStream(stream), _int(offset), _int(at_ms), _bytes(data))
            for ordinal, stream, offset, at_ms, data in rows
        ]
    except (TypeError, ValueError) as error:
        raise MalformedData("inline output", str(error)) from None


def _pack(value: Any) -> bytes:
    packed: bytes = msgpack.packb(value, use_bin_type=True)
    return bytes([VERSION]) + packed


def _unpack(what: str, raw: bytes, limit: int) -> dict[str, Any]:
    value = _unpack_any(what, raw, limit)
    if not isinstance(value, dict) or not all(isinstance(name, str) for name in value):
        raise MalformedData(what, "is no map of named fields")
    return value


def _unpack_any(what: str, raw: bytes, limit: int) -> Any:
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


def _text_or_bytes(word: bytes) -> str | bytes:
    try:
        return word.decode()
    except UnicodeDecodeError:
        return word


def _int(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{type(value).__name__} where a whole number was expected")
    return value


def _bytes(value: object) -> bytes:
    if not isinstance(value, bytes):
        raise TypeError(f"{type(value).__name__} where bytes were expected")
    return value


def _is(*kinds: type) -> Callable[[object], bool]:
    return lambda value: isinstance(value, kinds) and not (isinstance(value, bool) and bool not in kinds)


def _list_of(*kinds: type) -> Callable[[object], bool]:
    return lambda value: isinstance(value, list) and all(isinstance(item, kinds) for item in value)


def _map_of(key: type, item: type) -> Callable[[object], bool]:
    return lambda value: (
        isinstance(value, dict) and all(isinstance(k, key) and isinstance(v, item) for k, v in value.items())
    )


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
_DURATION = _is(int, float, type(None))
_SPEC_KINDS: Final[Mapping[str, Callable[[object], bool]]] = {
    "command": _list_of(bytes),
    "name": _is(str),
    "cwd": _is(bytes),
    "env": _map_of(bytes, bytes),
    "labels": _map_of(str, str),
    "priority": _is(str),
    "stdin": _is(bool),
    "time_limit": _DURATION,
    "idle_after": _DURATION,
    "idle_timeout": _DURATION,
    "grace": _DURATION,
    "success_codes": _list_of(int),
    "pty": _is(bool),
    "retries": _is(int),
    "retry_on": _list_of(str, int),
    "retry_delay": _is(int, float),
    "retry_max_delay": _is(int, float),
    "exclusive": _is(bool),
    "retry_of": _is(str),
}
_PRESENCE_KINDS: Final[Mapping[str, Callable[[object], bool]]] = {
    "id": _is(str),
    "name": _is(str),
    "host": _is(str),
    "pid": _is(int),
    "queues": _list_of(str),
    "concurrency": _is(int),
    "running": _list_of(str),
    "started_ms": _is(int),
    "seen_ms": _is(int),
    "only_job": _is(str, type(None)),
    "supervisor": _is(str),
    "process": _is(int),
    "processes": _is(int),
    "layer": _is(str),
}
_NEWER_PRESENCE: Final = frozenset({"supervisor", "process", "processes", "layer"})
"""What a worker of an older version does not say."""
