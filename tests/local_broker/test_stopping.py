"""The broker stops gracefully and completely, and no other process is touched."""

from __future__ import annotations

import os
import signal
import subprocess

import pytest

from oneshot_queue.errors import BrokerUnreachable
from oneshot_queue.local_broker import ensure_running, probe, starter, status, stop
from tests.local_broker.conftest import Machine, client, is_gone
from tests.support.limits import limit_s


def test_stop_returns_when_the_server_is_gone(any_kind: Machine) -> None:
    broker = ensure_running()

    stopped = stop()

    assert stopped
    assert is_gone(broker.pid)
    assert status() is None
    left = {path.name for path in any_kind.folder.path.iterdir()}
    assert left == {"broker.alive", "broker.lock", "broker.log", "data"}


def test_stopping_a_broker_that_is_not_running_is_no_error(any_kind: Machine) -> None:
    ensure_running()
    stop()

    assert not stop()
    assert status() is None


def test_status_and_stop_create_nothing(machine: Machine) -> None:
    assert status() is None
    assert not stop()

    assert not machine.folder.path.exists()


def test_stop_works_with_clients_connected_and_waiting(any_kind: Machine) -> None:
    url = ensure_running().url
    waiting = any_kind.start_python(
        f"import redis\nr = redis.Redis.from_url({url!r}, retry=None, socket_timeout=None)\n"
        "print(r.ping(), flush=True)\n"
        "try:\n    r.blpop(['never'])\nexcept redis.ConnectionError:\n    print('hung up')",
        stdout=subprocess.PIPE,
    )
    assert waiting.stdout is not None
    waiting.stdout.readline()

    assert stop()

    assert waiting.communicate(timeout=limit_s(20))[0] == "hung up\n"


@pytest.mark.thorough
def test_concurrent_starts_and_stops_all_succeed_and_leave_nothing(any_kind: Machine) -> None:
    code = "import sys; sys.stdin.read()\nfor _ in range(3): ensure_running(); stop()"
    rivals = [any_kind.start_python(code, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL) for _ in range(3)]
    for each in rivals:
        assert each.stdin is not None
        each.stdin.close()
        each.stdin = None

    assert [each.wait(timeout=limit_s(40)) for each in rivals] == [0] * 3
    assert any_kind.servers() == []


def test_a_server_whose_socket_was_removed_is_found_and_stopped(any_kind: Machine) -> None:
    broker = ensure_running()
    any_kind.folder.socket.unlink()
    with any_kind.monkeypatch.context() as impatient:
        impatient.setattr(starter, "START_TIMEOUT_S", 0.1)
        with pytest.raises(BrokerUnreachable, match=rf"process {broker.pid}.*does not listen.*broker stop"):
            ensure_running()

    assert stop()

    assert is_gone(broker.pid)
    assert ensure_running().started_now


def test_a_process_id_in_a_file_alone_kills_no_process(machine: Machine) -> None:
    with subprocess.Popen(["/bin/sleep", "300"]) as bystander:
        try:
            machine.folder.create()
            machine.folder.pid.write_text(f"{bystander.pid} 1\n")

            assert not stop()

            assert bystander.poll() is None
        finally:
            bystander.kill()


def test_a_server_that_does_not_answer_is_not_killed(any_kind: Machine) -> None:
    broker = ensure_running()
    any_kind.monkeypatch.setattr(probe, "ANSWER_TIMEOUT_S", 0.3)
    os.kill(broker.pid, signal.SIGSTOP)
    try:
        with pytest.raises(BrokerUnreachable, match="did not answer"):
            stop()
    finally:
        os.kill(broker.pid, signal.SIGCONT)

    assert client(broker.url).ping()
