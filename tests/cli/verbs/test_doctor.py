"""``doctor``: reports problems without writing, and repairs them on request."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
import redis

from oneshot_queue.spec import Priority
from oneshot_queue.states import JobState
from oneshot_queue.store.keys import QueueKeys
from tests.cli.pretend_worker import PretendWorker
from tests.support.command_line import Cli
from tests.support.limits import limit_s
from tests.support.servers import Server
from tests.support.worker_process import WorkerProcess


@pytest.fixture
def keys(namespace: str) -> QueueKeys:
    return QueueKeys(namespace, "default")


@pytest.fixture
def bare(server: Server) -> Iterator[Any]:
    with redis.Redis.from_url(server.url, protocol=2) as client:
        yield client


def of_queues(findings: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [finding for finding in findings if finding["queue"] is not None]


def open_codes(findings: list[dict[str, Any]]) -> set[str]:
    """Codes of the open findings of queues, apart from the missing worker."""
    rows = (finding for finding in of_queues(findings) if finding["severity"] != "info" and not finding["repaired"])
    return {finding["code"] for finding in rows} - {"unserved"}


def dumped(bare: Any, namespace: str) -> dict[bytes, bytes]:
    names = sorted(bare.scan_iter(match=f"{{{namespace}*", count=1000))
    return {name: bare.dump(name) for name in names}


@pytest.mark.thorough
def test_damage_is_found_and_repaired_and_the_job_runs(cli: Cli, bare: Any, keys: QueueKeys, server: Server) -> None:
    job_id = cli("enqueue", "true").line
    bare.xtrim(keys.ready(Priority.NORMAL), maxlen=0)
    bare.zadd(keys.state(JobState.RUNNING), {"ghost": 1})
    before = dumped(bare, cli.namespace)

    looked = cli("doctor", "--json")
    assert (looked.code, open_codes(looked.json)) == (1, {"job-without-entry", "index-ghost"})
    assert dumped(bare, cli.namespace) == before

    repaired = cli("doctor", "--repair", "--json")
    assert open_codes(repaired.json) == set()
    assert {finding["code"] for finding in of_queues(repaired.json) if finding["repaired"]} >= {
        "job-without-entry",
        "index-ghost",
    }

    after = dumped(bare, cli.namespace)
    again = cli("doctor", "--repair", "--json")
    assert not [finding for finding in again.json if finding["repaired"]]
    assert dumped(bare, cli.namespace) == after
    with WorkerProcess(server.url, ["default"], environment={"ONESHOT_QUEUE_NAMESPACE": cli.namespace}):
        assert cli("wait", job_id).code == 0


@pytest.mark.thorough
def test_exit_code_is_1_while_a_finding_is_open(cli: Cli, bare: Any, keys: QueueKeys) -> None:
    cli("enqueue", "--id", "over", "true")
    cli("interrupt", "over")
    # Findings about the server itself are the same before and after.
    server_is_sound = not [finding for finding in cli("doctor", "--json").json if finding["severity"] != "info"]
    bare.zadd(keys.state(JobState.RUNNING), {"ghost": 1})

    assert cli("doctor").code == 1
    assert cli("doctor", "--repair").code == int(not server_is_sound)


def test_text_has_a_line_per_finding_grouped_by_queue_and_a_summary(cli: Cli, bare: Any, keys: QueueKeys) -> None:
    cli("enqueue", "true")
    cli("enqueue", "-q", "other", "true")
    bare.zadd(keys.state(JobState.RUNNING), {"gh\x1b[31most\n": 1})

    done = cli("doctor")

    lines = done.text.splitlines()
    assert [line for line in lines[:-1] if not line.startswith("  ")] == ["server", "queue default", "queue other"]
    (ghost,) = [line for line in lines if "index-ghost" in line]
    assert ghost.split()[:3] == ["warning", "index-ghost", "gh\\x1b[31most\\x0a"]
    assert "-> --repair " in ghost
    assert "--repair can fix" in lines[-1]
    assert " warning" in lines[-1]
    assert "\x1b" not in done.text


def test_terminal_gets_colours(cli: Cli) -> None:
    cli("enqueue", "true")

    assert b"\x1b[1mserver" in cli.on_terminal("doctor", columns=200).done().out


def test_queue_option_limits_the_check_to_that_queue(cli: Cli) -> None:
    cli("enqueue", "true")
    cli("enqueue", "-q", "other", "true")

    assert {finding["queue"] for finding in of_queues(cli("doctor", "-q", "other", "--json").json)} == {"other"}


def test_job_of_a_live_lease_is_left_alone(cli: Cli, pretender: PretendWorker) -> None:
    job_id = cli("enqueue", "true").line
    pretender.claim(job_id)

    assert open_codes(cli("doctor", "--repair", "--json").json) == set()
    assert cli.job(job_id)["state"] == "RUNNING"


def test_leftovers_of_a_dead_worker_on_this_machine_are_reported(cli: Cli) -> None:
    folder = cli.state / "oneshot-queue" / "workers" / ("ab" * 16)
    folder.mkdir(parents=True)
    for name in ("lock", "notes", "spool"):
        (folder / name).write_bytes(b"")

    findings = {finding["code"]: finding for finding in cli("doctor", "--json").json}

    assert findings["waiting-spool"]["subject"] == "ab" * 16
    assert sorted(path.name for path in folder.iterdir()) == ["lock", "notes", "spool"]


def test_unreachable_broker_exits_with_5(cli: Cli) -> None:
    assert cli("--url", "redis://127.0.0.1:1", "doctor").code == 5


def test_many_finished_jobs_are_checked_in_seconds(cli: Cli, bare: Any, keys: QueueKeys) -> None:
    bare.sadd(f"{{{cli.namespace}}}:queues", "default")
    now_ms = bare.time()[0] * 1000
    fields = {"state": "COMPLETED", "attempt": 1, "priority": "normal", "created": now_ms, "changed": now_ms}
    ids = [f"{number:016}" for number in range(20_000)]
    pipe = bare.pipeline(transaction=False)
    for job_id in ids:
        pipe.hset(keys.job(job_id), mapping=fields)
        pipe.expire(keys.job(job_id), 3600)
    pipe.zadd(keys.state(JobState.COMPLETED), dict.fromkeys(ids, now_ms))
    pipe.execute()
    began_s = time.monotonic()

    done = cli("doctor", "--json")

    assert open_codes(json.loads(done.out)) == set()
    assert time.monotonic() - began_s < limit_s(10)
    bare.unlink(*(keys.job(job_id) for job_id in ids))
