"""The broker is started once, privately, and with the right server."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
from pathlib import Path

import pytest

from oneshot_queue.errors import BrokerUnreachable
from oneshot_queue.local_broker import ensure_running, probe, starter, status, stop
from tests.local_broker.conftest import BUNDLED, GATE, Machine, a_server, client, end, opened_by
from tests.support.limits import limit_s
from tests.support.servers import FAKE


def test_the_first_call_starts_a_server_and_the_next_finds_it(any_kind: Machine) -> None:
    first = ensure_running()
    second = ensure_running()

    assert (first.started_now, second.started_now) == (True, False)
    assert first.pid == second.pid
    assert first.kind == any_kind.kind
    assert first.persistent == (any_kind.kind != FAKE)
    assert status() == second
    assert client(first.url).ping()


@pytest.mark.thorough
def test_twenty_processes_at_once_start_exactly_one_server(any_kind: Machine) -> None:
    code = "import sys, json; sys.stdin.read(); b = ensure_running(); print(json.dumps([b.pid, b.started_now]))"
    starters = [any_kind.start_python(code, stdin=subprocess.PIPE, stdout=subprocess.PIPE) for _ in range(20)]

    for each in starters:
        assert each.stdin is not None
        each.stdin.close()
        each.stdin = None
    answers = [json.loads(each.communicate(timeout=limit_s(40))[0]) for each in starters]

    assert len({pid for pid, _ in answers}) == 1
    assert [started for _, started in answers].count(True) == 1
    assert any_kind.servers() == [answers[0][0]]


def test_folder_and_socket_are_private_whatever_the_umask(any_kind: Machine) -> None:
    before = os.umask(0)
    try:
        broker = ensure_running()
    finally:
        os.umask(before)

    found = {path: stat.S_IMODE(path.lstat().st_mode) for path in [broker.folder, *broker.folder.rglob("*")]}
    assert found[broker.folder] == 0o700
    assert found[broker.folder / "broker.sock"] == 0o600
    assert not {path: oct(mode) for path, mode in found.items() if mode & 0o077}


def test_no_port_is_open(any_kind: Machine) -> None:
    broker = ensure_running()

    opened = opened_by(broker.pid)
    sockets = {each.removeprefix("socket:[").removesuffix("]") for each in opened if each.startswith("socket:")}
    tables = [Path(f"/proc/{broker.pid}/net/{name}") for name in ("tcp", "tcp6", "udp", "udp6")]
    on_the_network = {line.split()[9] for table in tables if table.exists() for line in table.read_text().splitlines()}
    assert sockets
    assert not sockets & on_the_network


def test_a_real_server_persists_its_data(real_kind: Machine) -> None:
    settings = client(ensure_running().url).config_get("*")

    assert settings["appendonly"] == "yes"
    assert settings["appendfsync"] == "everysec"
    assert settings["maxmemory-policy"] == "noeviction"
    assert settings["port"] == "0"
    assert settings["dir"] == str(real_kind.folder.data)


def test_the_in_memory_server_warns_only_when_it_is_started(machine: Machine) -> None:
    first = machine.run_python("print(ensure_running().kind)")
    second = machine.run_python("print(ensure_running().kind)")

    assert (first.stdout, second.stdout) == ("fakeredis\n", "fakeredis\n")
    assert "in memory only" in first.stderr
    assert second.stderr == ""


def test_a_real_server_starts_without_a_warning(real_kind: Machine) -> None:
    assert real_kind.run_python("ensure_running()").stderr == ""


def test_a_server_on_path_comes_before_the_bundled_one(machine: Machine) -> None:
    machine.install(BUNDLED)
    machine.imitate("Redis server v=9.9.9 sha=0", f'exec {a_server(GATE).program} "$@"')

    ensure_running()

    assert machine.record()["version"] == "9.9.9"


def test_a_server_in_a_virtual_environment_is_ignored(machine: Machine) -> None:
    machine.install(GATE)
    (machine.root / "pyvenv.cfg").touch()

    assert ensure_running().kind == FAKE


def test_a_server_in_the_current_folder_is_not_run(machine: Machine) -> None:
    machine.install(GATE)
    machine.monkeypatch.chdir(machine.programs)
    machine.monkeypatch.setenv("PATH", f".{os.pathsep}{os.pathsep}../bin")

    assert ensure_running().kind == FAKE


@pytest.mark.parametrize(
    "version_line", ["Redis server v=6.0.16 sha=0", "Redis server v=5.0.7 sha=0", "KeyDB server v=6.3.4 sha=0", "hello"]
)
def test_unsuitable_servers_are_skipped(machine: Machine, version_line: str) -> None:
    machine.install(BUNDLED)
    machine.imitate(version_line, "exit 1")

    assert ensure_running().version == a_server(GATE).version


def test_a_program_that_cannot_run_is_skipped(machine: Machine) -> None:
    machine.install(BUNDLED)
    (machine.programs / "redis-server").write_bytes(b"\x7fELF of another machine")
    (machine.programs / "redis-server").chmod(0o755)

    assert ensure_running().version == a_server(GATE).version


def test_a_server_that_dies_is_reported_with_its_last_output(machine: Machine) -> None:
    machine.imitate("Redis server v=7.0.0 sha=0", "echo out of luck; exit 1")

    with pytest.raises(BrokerUnreachable, match=r"(?s)redis-server 7\.0\.0.*exited before it answered.*out of luck"):
        ensure_running()


def test_a_failed_start_does_not_rule_out_another_server(machine: Machine) -> None:
    machine.imitate("Valkey server v=9.0.0 sha=0", "exit 1", name="valkey-server")
    with pytest.raises(BrokerUnreachable):
        ensure_running()

    machine.install(GATE)

    assert ensure_running().kind == "redis-server"


def test_a_server_that_never_listens_is_reported_and_can_be_stopped(machine: Machine) -> None:
    machine.imitate("Redis server v=7.0.0 sha=0", "exec /bin/sleep 300")
    with machine.monkeypatch.context() as impatient:
        impatient.setattr(starter, "START_TIMEOUT_S", 0.1)
        with pytest.raises(BrokerUnreachable, match=r"did not answer within"):
            ensure_running()
        with pytest.raises(BrokerUnreachable, match=r"does not listen"):
            ensure_running()

    assert stop()

    machine.install(GATE)
    assert ensure_running().started_now


def test_a_killed_server_is_replaced(any_kind: Machine) -> None:
    killed = ensure_running()
    end(killed.pid)

    replaced = ensure_running()

    assert killed.folder.joinpath("broker.sock").exists()
    assert replaced.started_now
    assert replaced.pid != killed.pid
    assert client(replaced.url).ping()


def test_files_of_a_dead_server_are_replaced(any_kind: Machine) -> None:
    any_kind.folder.create()
    any_kind.folder.pid.write_text("1 1\n")
    any_kind.folder.socket.write_text("no socket at all")

    broker = ensure_running()

    assert any_kind.folder.pid.read_text().split()[0] == str(broker.pid)
    assert client(broker.url).ping()


def test_a_large_log_is_rotated_when_a_server_starts(any_kind: Machine) -> None:
    any_kind.folder.create()
    any_kind.folder.log.write_bytes(b"x" * 1_000_000)

    ensure_running()

    assert any_kind.folder.log.stat().st_size < 100_000
    assert any_kind.folder.log.with_name("broker.log.1").stat().st_size == 1_000_000


def test_a_starter_that_dies_does_not_block_the_next(any_kind: Machine) -> None:
    machine = any_kind
    starter_process = machine.start_python(
        "import os, signal\n"
        "from oneshot_queue.local_broker import launch\n"
        "launch.launch = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\n"
        "ensure_running()"
    )
    assert starter_process.wait(timeout=limit_s(20)) < 0

    assert ensure_running().started_now


def test_a_starter_that_dies_after_the_start_leaves_a_server_that_is_found(any_kind: Machine) -> None:
    starter_process = any_kind.start_python(
        "import os, signal\n"
        "from oneshot_queue.local_broker import starter\n"
        "starter._first_answer = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\n"
        "ensure_running()"
    )
    assert starter_process.wait(timeout=limit_s(20)) < 0

    broker = ensure_running()

    assert any_kind.servers() == [broker.pid]


def test_a_server_that_hangs_is_named_and_left_alone(any_kind: Machine) -> None:
    broker = ensure_running()
    with any_kind.monkeypatch.context() as impatient:
        impatient.setattr(probe, "ANSWER_TIMEOUT_S", 0.3)
        os.kill(broker.pid, signal.SIGSTOP)
        try:
            with pytest.raises(BrokerUnreachable, match=f"process {broker.pid} listens, but did not answer"):
                ensure_running()
        finally:
            os.kill(broker.pid, signal.SIGCONT)

    assert ensure_running().pid == broker.pid
