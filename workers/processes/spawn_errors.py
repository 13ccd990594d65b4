"""Explains why a command could not be started, so that its author can fix it."""

from __future__ import annotations

import errno
import os
import shutil
import socket
import stat
from collections.abc import Mapping, Sequence
from typing import Final

NOT_FOUND: Final = 127
NOT_EXECUTABLE: Final = 126
"""The exit codes that shells use for a command that was not run."""


class SpawnRefused(Exception):
    """A command cannot be run on this machine, and a retry would not help.

    Attributes:
        exit_code: 127 if the program does not exist, otherwise 126.
    """

    def __init__(self, problem: str, exit_code: int) -> None:
        self.exit_code = exit_code
        super().__init__(problem)


def refusal(
    error: OSError | ValueError, argv: Sequence[bytes], *, cwd: str | None, env: Mapping[str, str]
) -> SpawnRefused:
    """Explain a failed start: name the host, the path and the reason."""
    host = socket.gethostname()
    program = os.fsdecode(argv[0])
    if cwd is not None and not _is_enterable(cwd):
        reason = "not a directory" if os.path.exists(cwd) and not os.path.isdir(cwd) else _reason(error)
        return SpawnRefused(f"{host}: cannot enter the working directory {cwd!r}: {reason}", NOT_EXECUTABLE)
    found = _located(program, cwd, env)
    exit_code = NOT_EXECUTABLE
    match getattr(error, "errno", None):
        case errno.ENOENT | errno.ENOTDIR if found is None:
            exit_code = NOT_FOUND
            reason = "no such file" if "/" in program else f"no such program in PATH ({env.get('PATH', os.defpath)})"
        case errno.ENOENT:
            reason = f"its interpreter does not exist: {_interpreter(found or program)}"
        case errno.EACCES if found is not None and os.path.isdir(found):
            reason = "it is a directory"
        case errno.EACCES:
            reason = "no permission to execute it"
        case errno.ENOEXEC:
            reason = "neither a binary for this machine nor a script that starts with #!"
        case errno.E2BIG:
            reason = "its arguments and environment are longer than this machine allows"
        case _:
            reason = _reason(error)
    return SpawnRefused(f"{host}: cannot run {found or program!r}: {reason}", exit_code)


def _reason(error: OSError | ValueError) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


def _is_enterable(cwd: str) -> bool:
    return os.path.isdir(cwd) and os.access(cwd, os.X_OK, effective_ids=True)


def _located(program: str, cwd: str | None, env: Mapping[str, str]) -> str | None:
    if "/" in program:
        path = os.path.join(cwd or "", program)
        return path if os.path.exists(path) else None
    path_variable = env.get("PATH", os.defpath)
    # The child resolves relative folders from its own working directory.
    folders = [os.path.join(cwd or "", folder) for folder in path_variable.split(os.pathsep)]
    found = shutil.which(program, path=os.pathsep.join(folders))
    if found is not None:
        return found
    return next((place for folder in folders if os.path.exists(place := os.path.join(folder, program))), None)


def _interpreter(path: str) -> str:
    try:
        # The file may be a device, or a pipe without a writer: opening it must not block.
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb", buffering=0) as file:
            line = (file.read(200) or b"").split(b"\n")[0] if stat.S_ISREG(os.fstat(file.fileno()).st_mode) else b""
    except OSError as error:
        return f"first line not readable ({error.strerror})"
    return line.decode(errors="replace").strip() if line.startswith(b"#!") else "the dynamic loader named in the binary"
