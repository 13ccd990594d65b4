"""The data survives a restart, and only a server that can read it is started."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from oneshot_queue.errors import BrokerRefused
from oneshot_queue.local_broker import ensure_running, starter, stop
from tests.local_broker.conftest import BUNDLED, GATE, Machine, a_server, client, end
from tests.support.servers import FAKE, known_kinds

OLD = "redis-6.2"
needs_an_old_server = pytest.mark.skipif(OLD not in {kind.name for kind in known_kinds()}, reason="no Redis 6.2 here")


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def with_data(machine: Machine, name: str) -> dict[str, bytes]:
    """Let a server write data and stop; returns the files."""
    machine.install(name)
    client(ensure_running().url).set("kept", "yes")
    stop()
    return files(machine.folder.data)


def test_data_survives_stop_and_start(real_kind: Machine) -> None:
    client(ensure_running().url).set("kept", b"\x00\xff")

    stop()

    assert client(ensure_running().url).get("kept") == b"\x00\xff"


def test_a_server_that_loads_its_data_slowly_is_waited_for(machine: Machine) -> None:
    machine.install(GATE)
    with client(ensure_running().url).pipeline() as pipeline:
        for number in range(500):
            pipeline.set(f"key{number}", "x" * 100)
        pipeline.execute()
    stop()
    slowly = "--key-load-delay 1000 --loading-process-events-interval-bytes 1024"
    version, program = a_server(GATE).version, a_server(GATE).program
    machine.uninstall()
    machine.imitate(f"Redis server v={version} sha=0", f'exec {program} "$@" {slowly}')

    with machine.monkeypatch.context() as impatient:
        impatient.setattr(starter, "START_TIMEOUT_S", 0.2)
        began = time.monotonic()
        broker = ensure_running()

    assert time.monotonic() - began > 0.4
    assert client(broker.url).dbsize() == 500


def test_data_survives_sigkill_of_the_server(real_kind: Machine) -> None:
    broker = ensure_running()
    client(broker.url).set("kept", "yes")

    end(broker.pid)

    again = ensure_running()
    assert again.started_now
    assert client(again.url).get("kept") == b"yes"


def test_the_writer_of_the_data_is_recorded(real_kind: Machine) -> None:
    broker = ensure_running()

    assert real_kind.record() == {"kind": broker.kind, "version": broker.version}


@needs_an_old_server
def test_a_newer_server_opens_the_data(machine: Machine) -> None:
    with_data(machine, OLD)
    machine.install(GATE)

    broker = ensure_running()

    assert client(broker.url).get("kept") == b"yes"
    assert machine.record() == {"kind": "redis-server", "version": a_server(GATE).version}


@needs_an_old_server
def test_an_older_server_is_refused_and_the_data_is_untouched(machine: Machine) -> None:
    before = with_data(machine, GATE)
    machine.install(OLD)

    with pytest.raises(BrokerRefused) as refused:
        ensure_running()

    newer, older = a_server(GATE).version, a_server(OLD).version
    assert f"was written by redis-server {newer}" in str(refused.value)
    assert f"this machine has redis-server {older} ({machine.programs}/redis-server)" in str(refused.value)
    assert f"install redis-server {newer} or newer" in str(refused.value)
    assert f"move {machine.folder.data} away" in str(refused.value)
    assert files(machine.folder.data) == before
    assert machine.servers() == []


def test_a_server_of_another_kind_is_refused_and_the_data_is_untouched(machine: Machine) -> None:
    before = with_data(machine, GATE)
    machine.uninstall()
    machine.imitate("Valkey server v=9.0.0 sha=0", "exit 1", name="valkey-server")

    with pytest.raises(BrokerRefused, match=r"this machine has valkey-server 9\.0\.0"):
        ensure_running()

    assert files(machine.folder.data) == before


def test_the_in_memory_server_is_refused_if_there_is_data(machine: Machine) -> None:
    before = with_data(machine, GATE)
    machine.install(FAKE)

    with pytest.raises(BrokerRefused, match="only fakeredis, which cannot read it"):
        ensure_running()

    assert files(machine.folder.data) == before


@needs_an_old_server
def test_of_several_servers_the_one_that_can_read_the_data_is_started(machine: Machine) -> None:
    with_data(machine, GATE)
    machine.install(BUNDLED)
    program = a_server(OLD).program
    assert program is not None
    (machine.programs / "redis-server").symlink_to(program)

    broker = ensure_running()

    assert broker.version == a_server(GATE).version
    assert client(broker.url).get("kept") == b"yes"


def test_moving_the_data_away_starts_empty(machine: Machine) -> None:
    with_data(machine, GATE)
    machine.install(FAKE)

    machine.folder.data.rename(machine.root / "away")

    assert ensure_running().kind == FAKE


def test_the_in_memory_server_does_not_prevent_a_real_one_later(machine: Machine) -> None:
    broker = ensure_running()
    client(broker.url).set("lost", "yes")
    stop()

    machine.install(GATE)

    assert ensure_running().kind == "redis-server"


@pytest.mark.parametrize("record", [None, b"", b'{"kind": "redis-ser', b"[]"])
def test_data_of_an_unknown_writer_is_refused(machine: Machine, record: bytes | None) -> None:
    with_data(machine, GATE)
    place = machine.folder.data / "written_by.json"
    if record is None:
        place.unlink()
    else:
        place.write_bytes(record)

    with pytest.raises(BrokerRefused, match="does not say which server wrote it"):
        ensure_running()


def test_a_half_written_record_is_ignored(machine: Machine) -> None:
    with_data(machine, GATE)
    (machine.folder.data / "written_by.json.4711.new").write_bytes(b'{"kind": "valk')

    assert client(ensure_running().url).get("kept") == b"yes"


def test_a_record_can_be_written_by_hand(machine: Machine) -> None:
    with_data(machine, GATE)
    (machine.folder.data / "written_by.json").write_text(json.dumps({"version": "8.0", "kind": "redis-server"}))

    assert ensure_running().kind == "redis-server"
