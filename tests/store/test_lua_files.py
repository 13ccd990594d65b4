"""The header of every Lua file matches its code and its wrapper, and its reads match the names they are given."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import oneshot_queue.store
from oneshot_queue.settings import Settings
from oneshot_queue.spec import JobSpec, Priority
from oneshot_queue.states import JobState
from oneshot_queue.store import attempts, checkup, claims, due, enqueue, leases, presence, retention, steering, sweep
from oneshot_queue.store.calls import Call
from oneshot_queue.store.keys import QueueKeys
from tests.support.builders import NOBODY, a_chunk, a_presence, an_outcome

FOLDER = Path(oneshot_queue.store.__file__).parent / "lua"
NAMES = sorted(path.stem for path in FOLDER.glob("*.lua"))
SHARED_NAMES = sorted(path.stem for path in (FOLDER / "shared").glob("*.lua"))
SHARED = "\n".join(path.read_text() for path in sorted((FOLDER / "shared").glob("*.lua")))
FUNCTION = re.compile(r"^local function (\w+)\(.*?^end$", re.DOTALL | re.MULTILINE)
FUNCTIONS = {match[1]: match[0] for match in FUNCTION.finditer(SHARED)}

KEYS = QueueKeys("oq", "q")
WHO = {"lease": "w.1", "worker": "w", "host": "h"}
SETTINGS = Settings()
WRAPPERS: dict[str, Call[Any]] = {
    "adopt": claims.adopt(KEYS, "id", NOBODY, attempt=1, host="h", ago_ms=0),
    "audit": sweep.audit(KEYS, JobState.RUNNING, 0),
    "correct_total": checkup.correct_total(KEYS, read="1", rows=1, right=2),
    "erase": retention.erase_queue(KEYS),
    "examine_due": checkup.examine_due(KEYS, "delayed", 0, repairs=False),
    "examine_entries": checkup.examine_entries(KEYS, Priority.NORMAL, "", repairs=False),
    "examine_index": checkup.examine_index(KEYS, JobState.CREATED, 0, repairs=False, settings=SETTINGS),
    "examine_kept": checkup.examine_kept(KEYS, [b"id"], repairs=False),
    "settle": sweep.settle(KEYS, "id", "w.1", by="w", error="gone", spread=1.0, settings=SETTINGS),
    "give_back": claims.give_back(KEYS, "id", NOBODY, why="unstarted", is_counted=True, settings=SETTINGS),
    "promote": due.promote(KEYS, SETTINGS),
    "restore": leases.restore(KEYS, "w.1", 30),
    "sweep": sweep.sweep(
        KEYS, "w.1", seen="1", by="w", error="gone", spread=1.0, is_confirmed=False, settings=SETTINGS
    ),
    "watch": sweep.watch(KEYS, "w.1", turn_s=1),
    "append_output": attempts.append_output(
        KEYS, "id", 1, NOBODY, [(a_chunk(1), True)], total=1, dropped=0, now_ms=1, tail_from=(0, 0)
    ),
    "claim": claims.claim(KEYS, free=1, settings=SETTINGS, **WHO),
    "claim_one": claims.claim_one(KEYS, "id", settings=SETTINGS, **WHO),
    "finish": attempts.finish(
        KEYS, "id", NOBODY, an_outcome(), ago_ms=0, inline_output=b"", kept=0, fields={"pid": 1}, settings=SETTINGS
    ),
    "interrupt": steering.interrupt(KEYS, "id", grace=None, by="me", reason=None, settings=SETTINGS),
    "prune": retention.prune(KEYS, SETTINGS),
    "reclaim": claims.reclaim(KEYS, lease="w.1", known=["1"]),
    "record": attempts.record(KEYS, "id", NOBODY, sequence=1, event=None, ago_ms=0, fields={"pid": 1}),
    "register": leases.register(KEYS, "w.1", 30),
    "renew": leases.renew(KEYS, "w.1", 30, [leases.Intent("id", 1, None)]),
    "show_presence": presence.show_presence("oq", a_presence()),
    "enqueue": enqueue.enqueue(KEYS, "id", JobSpec(["true"]), by="me", max_length=1),
    "unregister": leases.unregister(KEYS, "w.1"),
}
PREFIXES = {"show_presence": "{oq}"}
"""Prefixes of scripts that belong to no queue."""


@dataclass(frozen=True)
class LuaFile:
    """One script, split into its header and its code without comments."""

    header: str
    body: str

    @property
    def code(self) -> str:
        """Its own code and that of every shared function it calls, directly or through another."""
        found: dict[str, str] = {}
        text = self.body
        while new := {n: f for n, f in FUNCTIONS.items() if n not in found and re.search(rf"\b{n}\(", text)}:
            found |= new
            text += "".join(new.values())
        return text

    def described(self, kind: str) -> tuple[set[int], int | None]:
        """Numbers of the header's KEYS or ARGV, and the number from which they repeat."""
        rows = re.findall(rf"^-- {kind}\[(\d+)(\.\.\.)?\] +\S", self.header, re.MULTILINE)
        repeated = [int(number) for number, dots in rows if dots]
        return {int(number) for number, _ in rows}, repeated[0] if repeated else None

    @property
    def only_routing(self) -> set[int]:
        """Numbers of the keys that the header lists although no code uses them."""
        return {
            int(number)
            for number in re.findall(r"^-- KEYS\[(\d+)\] +workers, passed for routing", self.header, re.MULTILINE)
        }


def lua_file(name: str) -> LuaFile:
    text = (FOLDER / f"{name}.lua").read_text()
    header, _, body = text.partition("\n\n")
    assert all(line.startswith("--") for line in header.splitlines())
    return LuaFile(header, re.sub(r"--.*", "", body))


def test_every_script_has_a_wrapper() -> None:
    assert sorted(WRAPPERS) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_header_describes_exactly_the_keys_that_are_used(name: str) -> None:
    file = lua_file(name)
    described, _ = file.described("KEYS")

    used = {1} | {int(number) for number in re.findall(r"KEYS\[(\d+)\]", file.code)}

    assert described == set(range(1, len(described) + 1))
    if "KEYS[tonumber(" in file.code:
        assert used <= described
    else:
        assert used == described - file.only_routing


@pytest.mark.parametrize("name", NAMES)
def test_every_script_names_two_keys_so_that_a_migrating_cluster_defers_it(name: str) -> None:
    number, first, second, *_ = WRAPPERS[name].words

    assert int(number) >= 2
    assert first != second


@pytest.mark.parametrize("name", NAMES)
def test_header_describes_exactly_the_arguments_that_are_used(name: str) -> None:
    file = lua_file(name)
    described, repeats_from = file.described("ARGV")

    fixed = {int(number) for number in re.findall(r"ARGV\[(\d+)\]", file.code)}
    rests = [int(number) for number in re.findall(r"(?:for i = |unpack\(ARGV, )(\d+)", file.code)]

    assert described == set(range(1, len(described) + 1))
    assert fixed == described - {repeats_from}
    assert rests == ([] if repeats_from is None else [repeats_from])


@pytest.mark.parametrize("name", NAMES)
def test_header_lists_exactly_the_keys_that_are_built(name: str) -> None:
    file = lua_file(name)

    listed = re.search(r"^-- Builds +(.+?)\n-- Returns", file.header.replace(",\n--", ","), re.MULTILINE | re.DOTALL)

    built = set(re.findall(r"T \.\. ':([a-z]+:?)", file.code))
    assert (set(listed[1].split(", ")) if listed else set()) == built


@pytest.mark.parametrize("name", NAMES)
def test_header_lists_exactly_the_replies(name: str) -> None:
    file = lua_file(name)
    promised = re.search(r"^-- Returns .*", file.header, re.MULTILINE | re.DOTALL)
    assert promised

    given = set(re.findall(r"(?:return|reply =) \{ '(\w+)'", file.body))

    assert set(re.findall(r'\{"(\w+)"', promised[0])) == given


@pytest.mark.parametrize("name", [*NAMES, *(f"shared/{each}" for each in SHARED_NAMES)])
def test_header_names_the_shared_files_whose_functions_are_used(name: str) -> None:
    file = lua_file(name)
    named = re.search(r"^-- Uses +(.+)$", file.header, re.MULTILINE)
    for path in (FOLDER / "shared").glob("*.lua"):
        own = re.findall(r"^local function (\w+)", path.read_text(), re.MULTILINE)

        used = any(re.search(rf"\b{function}\(", file.body) for function in own)

        if path.stem not in ("base", name.removeprefix("shared/")):
            assert used == (path.stem in (named[1].split() if named else []))


@pytest.mark.parametrize("name", [*NAMES, *(f"shared/{each}" for each in SHARED_NAMES)])
def test_fields_that_are_read_together_are_unpacked_into_locals_of_the_same_names(name: str) -> None:
    body = lua_file(name).body

    for read in re.finditer(r"'HMGET',([^)]*)\)", body):
        fields = re.findall(r"'(\w+)'", read[1])
        statement = body[body.rindex("local ", 0, read.start()) : read.end()]
        if "unpack(" not in statement:  # where the reply may be an error, it is unpacked a few lines below
            reply = statement.split()[1]
            unpacked = re.search(rf"local [\w\s,]+? = unpack\({reply}\)", body[read.end() :])
            assert unpacked
            statement = unpacked[0]
        names = re.findall(r"\w+", statement.partition("=")[0])[1:]

        assert [each.removeprefix("stored_") for each in names] == fields


@pytest.mark.parametrize("name", NAMES)
def test_wrapper_sends_as_many_keys_and_arguments_as_the_header_describes(name: str) -> None:
    keys, _ = lua_file(name).described("KEYS")
    arguments, repeats_from = lua_file(name).described("ARGV")

    number, *words = WRAPPERS[name].words

    assert number == len(keys)
    assert words[0] == PREFIXES.get(name, KEYS.prefix)
    assert all(str(key).startswith(str(words[0])) for key in words[: len(keys)])
    sent = len(words) - len(keys)
    if repeats_from is None:
        assert sent == len(arguments)
    else:
        group = {"append_output": 6, "examine_kept": 1, "reclaim": 1, "enqueue": 7}.get(name, 2)
        assert sent >= repeats_from
        assert (sent - (repeats_from - 1)) % group == 0


@pytest.mark.parametrize("name", NAMES)
def test_work_is_bounded(name: str) -> None:
    code = lua_file(name).code

    commands = re.findall(r"redis\.p?call\('([A-Z]+)'", code)

    assert len(commands) == len(re.findall(r"redis\.p?call\(", code))
    assert not {"KEYS", "SMEMBERS", "HKEYS", "HSCAN", "ZSCAN", "SORT", "EVAL"} & set(commands)
    assert all(re.search(r"'COUNT', \d+", call) for call in re.findall(r"'SCAN'.*", code))
    assert all("'LIMIT'" in call for call in re.findall(r"'ZRANGEBYSCORE'.*", code))
    assert all(re.search(r"'-', '\+', \d+|entry, entry, 1\b", call) for call in re.findall(r"'XPENDING'.*", code))
    assert all("'COUNT', 1," in call for call in re.findall(r"'XREADGROUP'.*", code))
    assert not re.search(r"while true|\brepeat\b|\bgoto\b", code)
