"""The broker's folder is private, or it is not used."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from oneshot_queue.errors import BrokerRefused
from oneshot_queue.local_broker import ensure_running, state_folder, status, stop
from oneshot_queue.local_broker.folder import BrokerFolder
from tests.local_broker.conftest import Machine, client


def refused(machine: Machine, because: str) -> None:
    for verb in (ensure_running, status, stop):
        with pytest.raises(BrokerRefused, match=because):
            verb()
    assert machine.servers() == []


@pytest.mark.parametrize("mode", [0o755, 0o770, 0o701])
def test_a_folder_open_to_others_is_refused(machine: Machine, mode: int) -> None:
    machine.folder.path.mkdir()
    machine.folder.path.chmod(mode)

    refused(machine, rf"is open to other users \(mode {mode:04o}\).*chmod 700")


def test_a_link_is_not_followed(machine: Machine) -> None:
    elsewhere = machine.root / "elsewhere"
    elsewhere.mkdir(mode=0o700)
    machine.folder.path.symlink_to(elsewhere)

    refused(machine, "is a symbolic link")

    assert list(elsewhere.iterdir()) == []


def test_a_file_in_its_place_is_refused(machine: Machine) -> None:
    machine.folder.path.write_text("")

    refused(machine, "is not a directory")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_a_folder_of_another_user_is_refused(machine: Machine) -> None:
    machine.folder.path.mkdir(mode=0o700)
    os.chown(machine.folder.path, 12345, -1)

    refused(machine, "belongs to user 12345, but you are user 0")


def test_a_folder_that_cannot_be_created_is_refused(machine: Machine) -> None:
    machine.monkeypatch.setenv("XDG_STATE_HOME", "/proc/none")

    with pytest.raises(BrokerRefused, match="set XDG_STATE_HOME to a directory you can write to"):
        ensure_running()


def test_a_relative_state_home_is_ignored_as_specified(machine: Machine) -> None:
    assert state_folder({"XDG_STATE_HOME": "here"}) == Path.home() / ".local/state/oneshot-queue"
    assert state_folder({"XDG_STATE_HOME": "/there"}) == Path("/there/oneshot-queue")


def deep(machine: Machine) -> BrokerFolder:
    """Move the state to a path that is too long for a socket."""
    home = machine.root / ("d" * 60) / ("e" * 60)
    machine.monkeypatch.setenv("XDG_STATE_HOME", str(home))
    assert machine.folder.socket.parent != machine.folder.path
    return machine.folder


def test_a_long_path_moves_the_socket_to_a_short_private_folder(any_kind: Machine) -> None:
    folder = deep(any_kind)

    broker = ensure_running()

    assert broker.folder == folder.path
    assert client(broker.url).ping()
    assert len(str(folder.socket)) <= 100
    assert folder.socket.parent.stat().st_mode & 0o777 == 0o700
    assert status() is not None
    assert stop()
    assert not folder.socket.exists()


def test_a_short_folder_that_is_open_to_others_is_refused(machine: Machine) -> None:
    folder = deep(machine)
    folder.socket.parent.mkdir()
    folder.socket.parent.chmod(0o777)

    refused(machine, "is open to other users")


def test_a_short_folder_that_is_a_link_is_refused(machine: Machine) -> None:
    folder = deep(machine)
    folder.socket.parent.symlink_to(machine.root)
    try:
        refused(machine, "is a symbolic link")
    finally:
        folder.socket.parent.unlink()


def test_a_server_whose_short_folder_was_deleted_can_be_stopped(any_kind: Machine) -> None:
    folder = deep(any_kind)
    ensure_running()
    shutil.rmtree(folder.socket.parent)

    assert stop()

    assert any_kind.servers() == []


def test_unusual_folder_names_work(any_kind: Machine) -> None:
    any_kind.monkeypatch.setenv("XDG_STATE_HOME", str(any_kind.root / "a b?#%41é'\""))

    assert client(ensure_running().url).ping()


def test_the_data_folder_may_be_a_link(any_kind: Machine) -> None:
    any_kind.folder.path.mkdir(mode=0o700)
    elsewhere = any_kind.root / "big"
    elsewhere.mkdir()
    any_kind.folder.data.symlink_to(elsewhere)

    assert ensure_running().started_now
