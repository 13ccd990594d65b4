"""``last``: the job this user enqueued last on a broker."""

from __future__ import annotations

import stat
from pathlib import Path

from tests.support.command_line import Cli
from tests.support.servers import Server


def test_last_is_the_most_recently_enqueued_job_in_its_queue(cli: Cli) -> None:
    # The same id in two queues is two jobs; a search alone would find the wrong one.
    cli("enqueue", "-q", "alpha", "--id", "nightly", "echo", "alpha")
    cli("enqueue", "-q", "beta", "--id", "nightly", "echo", "beta")

    assert cli.job("last")["command"] == ["echo", "beta"]


def test_last_is_kept_per_broker_and_namespace(cli: Cli, server: Server, tmp_path: Path) -> None:
    job_id = cli("enqueue", "true").line

    other = cli("show", "last", env={"ONESHOT_QUEUE_NAMESPACE": f"{cli.namespace}-2"})

    assert cli.job("last")["id"] == job_id
    assert other.code == 3
    assert "no last job" in other.err


def test_file_of_last_is_private(cli: Cli, server: Server) -> None:
    cli("enqueue", "true")

    folder = cli.state / "oneshot-queue" / "last"
    (file,) = folder.iterdir()
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE(folder.parent.stat().st_mode) == 0o700
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_unwritable_state_folder_only_prints_a_message(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    done = cli("enqueue", "true", env={"XDG_STATE_HOME": str(tmp_path / "file")})

    assert done.code == 0
    assert cli.job(done.line)["state"] == "CREATED"
    assert "last job" in done.err
