"""How a ``JobSpec`` is stored: a map of the fields that differ from their defaults, without the bytes of stdin.

Type and default of each field come from its declaration in ``spec.py``. Four fields are encoded: words of the command,
variables and ``cwd`` are bytes, because they need not be UTF-8; of ``stdin``, only its presence is stored.
"""

from __future__ import annotations

from typing import Any, Final

from oneshot_queue.checks import MAX_COMMAND_BYTES, MAX_ENV_BYTES, os_bytes, os_text
from oneshot_queue.errors import InvalidJob, MalformedData
from oneshot_queue.spec import OPTIONS, JobSpec, default_of
from oneshot_queue.wire.packing import fits, pack, unpack

MAX_SPEC_BYTES: Final = MAX_COMMAND_BYTES + MAX_ENV_BYTES + 131_072


def pack_spec(spec: JobSpec) -> bytes:
    """Pack a spec. Its stdin is stored under a key of its own."""
    fields: dict[str, Any] = {"command": spec.argv}
    if spec.env:
        fields["env"] = {os_bytes(name): os_bytes(value) for name, value in spec.env.items()}
    if spec.cwd is not None:
        fields["cwd"] = os_bytes(spec.cwd)
    if spec.stdin is not None:
        fields["stdin"] = True
    for name, default in _PLAIN_DEFAULTS:
        value = getattr(spec, name)
        if value is not default and value != default:
            fields[name] = value
    return pack(fields)


def unpack_spec(raw: bytes, stdin: bytes = b"") -> JobSpec:
    """Unpack a spec.

    Args:
        raw: What ``pack_spec`` returned.
        stdin: The bytes stored under the key of the job's stdin; ignored if the spec has none.

    Raises:
        MalformedData: The bytes are not a spec of this version, or a field is invalid.
    """
    fields = unpack("job spec", raw, MAX_SPEC_BYTES)
    unknown = fields.keys() - _FITS.keys()
    if unknown or "command" not in fields:
        raise MalformedData("job spec", f"unknown fields {sorted(unknown)}" if unknown else "has no command")
    for name, value in fields.items():
        if not _FITS[name](value):
            raise MalformedData("job spec", f"field {name} has the wrong type {type(value).__name__}")
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


_PLAIN_DEFAULTS: Final = tuple((name, default_of(name)) for name, option in OPTIONS.items() if not option.is_encoded)
_FITS: Final = {name: fits(option.stored) for name, option in OPTIONS.items()}
