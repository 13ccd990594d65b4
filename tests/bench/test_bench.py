"""The benchmark measures every line that it lists, and does not mistake failures for speed. No speed is asserted."""

import json
import shutil
from pathlib import Path

import pytest

from oneshot_queue.bench.figures import Line, MeasurementSpoilt, Target, quantiles_of
from oneshot_queue.bench.fleet import TRUE
from oneshot_queue.states import JobState
from tests.bench import local
from tests.bench.__main__ import main
from tests.bench.fleet import a_fleet
from tests.bench.sizes import Sizes

TINY = Sizes(
    rounds=1,
    commands=8,
    warm_up=4,
    enqueued=50,
    enqueues=3,
    results=3,
    lines=3,
    interrupts=2,
    running=3,
    stored=20,
    kills=1,
    losses=1,
    naps=4,
    trues=4,
    written_mb=1,
    waiting=200,
    held=40,
    workers=2,
    flood_mb=10,
    followers=2,
)
FLEETS = ("1 worker process (-c 4)", "2 worker processes (-c 4)", "2 worker processes (-c 32)")
FLEET_LINES = (
    ("enqueue to last result", "commands/s"),
    ("drain of a full queue", "commands/s"),
    ("CPU of the workers", "µs/command"),
    ("CPU of Redis", "µs/command"),
    ("enqueue to last result", "of xargs"),
    ("drain of a full queue", "of xargs"),
    ("CPU of workers, Redis and commands", "of xargs"),
)
LINES = {
    "throughput": [
        ("xargs -P4 -n1 /bin/true", "commands/s"),
        ("CPU of xargs and its commands", "µs/command"),
        *((f"{fleet}, {name}", unit) for fleet in FLEETS for name, unit in FLEET_LINES),
    ],
    "enqueueing": [
        ("Queue.enqueue_many of 50", "jobs/s"),
        ("SyncQueue.enqueue_many of 50", "jobs/s"),
        ("SyncQueue.enqueue, p50 of 3", "ms"),
        ("SyncQueue.enqueue, p99", "ms"),
        ("SyncQueue.ping, a bare round trip, p50 of 3", "ms"),
        ("SyncQueue.ping, a bare round trip, p99", "ms"),
    ],
    "roundtrip": [
        ("Queue.enqueue, p50 of 3", "ms"),
        ("Queue.enqueue, p99", "ms"),
        ("Queue.enqueue, p50 in bare round trips (PING) of redis-py", "PINGs"),
        ("the command of Queue.enqueue sent by redis-py alone, p50 in bare round trips (PING) of redis-py", "PINGs"),
        ("SyncQueue.enqueue, p50 of 3", "ms"),
        ("SyncQueue.enqueue, p99", "ms"),
        ("SyncQueue.enqueue, p50 in bare round trips (PING) of redis-py", "PINGs"),
        (
            "the command of SyncQueue.enqueue sent by redis-py alone, p50 in bare round trips (PING) of redis-py",
            "PINGs",
        ),
    ],
    "latency": [
        ("enqueue to result, p50 of 3", "ms"),
        ("enqueue to result, p99", "ms"),
        ("lag of a followed line, p50 of 3", "ms"),
        ("lag of a followed line, p99", "ms"),
    ],
    "interrupts": [
        ("interrupt to process group gone, p50 of 2", "ms"),
        ("interrupt to process group gone, p99", "ms"),
        ("interrupt to its confirmation, p50 of 2", "ms"),
        ("interrupt to its confirmation, p99", "ms"),
    ],
    "output": [
        ("one job that writes 1 MB", "MB/s"),
        ("enqueue to result next to a job that never stops writing, p50", "times as long as alone"),
    ],
    "memory": [
        ("worker, RSS at 0 running jobs", "MB"),
        ("worker, RSS at 3 running jobs", "MB"),
        ("worker, RSS per running job", "KB/job"),
        ("supervisor, RSS", "MB"),
        ("Redis, per queued job", "B/job"),
        ("Redis, per finished job with 40 B of output", "B/job"),
    ],
    "recovery": [
        ("SIGKILL of a worker to its processes gone and jobs settled, p50", "s"),
        ("SIGKILL of a worker to its processes gone and jobs settled, longest of 1", "s"),
        ("loss of a host to its jobs settled, lease 3 s, p50", "s"),
        ("loss of a host to its jobs settled, lease 3 s, longest of 1", "s"),
        ("interrupt without pub/sub to process group gone, renewal every 0.5 s, p50", "s"),
        ("interrupt without pub/sub to process group gone, renewal every 0.5 s, longest of 1", "s"),
        ("jobs killed, lost or started twice by a restart of Redis, of 50", "jobs"),
    ],
    "scale": [
        *(
            line
            for verb in ("claim", "ls", "queues", "show")
            for line in (
                (f"{verb} with 200 waiting jobs", "ms"),
                (f"{verb} with 200 waiting jobs", "times as long as with 100"),
            )
        ),
        ("one renewal of all 20 leases of 40 running jobs, time in Redis", "ms"),
        ("calls of an idle worker, 2 workers on one queue", "calls/s"),
        ("calls for one job, 2 idle workers on its queue", "calls"),
        (
            "10 MB written by 100 jobs at once, 2 of them followed: enqueue to result of other jobs",
            "times as long as alone",
        ),
        ("10 MB written by 100 jobs at once, 2 of them followed: growth of the worker", "MB"),
    ],
    "floor": [
        (f"{name}{kind}", unit)
        for name, kind in (
            ("1 bare Python process, 4 commands at once", ""),
            ("2 bare Python processes, 4 commands at once", ""),
            ("1 bare Python process, 4 commands at once", ", claimed and finished in Redis"),
            ("2 bare Python processes, 4 commands at once", ", claimed and finished in Redis"),
            ("2 bare Python processes, 32 commands at once", ", claimed and finished in Redis"),
        )
        for unit in ("commands/s", "of xargs")
    ],
    "local": [
        ("run_commands, 4 sleep 0.05, one after another", "s"),
        ("run_commands, 4 sleep 0.05, 8 at once", "s"),
        ("run_commands, 4 sleep 0.05, gain", "times"),
        ("run_commands, 4 true, one after another", "s"),
        ("run_commands, 4 true, 4 at once", "s"),
        ("run_commands, 4 true, gain", "times"),
    ],
}
TARGETS: dict[str, dict[str, object]] = {
    "throughput": {
        "1 worker process (-c 4), enqueue to last result": {"at_least": 0.7},
        "2 worker processes (-c 4), enqueue to last result": {"at_least": 1.0},
        "2 worker processes (-c 32), enqueue to last result": {"at_least": 1.0},
    },
    "enqueueing": {
        "Queue.enqueue_many of 50": {"at_least": 50_000},
        "SyncQueue.enqueue_many of 50": {"at_least": 50_000},
    },
    "roundtrip": {
        "Queue.enqueue, p50 in bare round trips (PING) of redis-py": {"at_most": 1.3},
        "SyncQueue.enqueue, p50 in bare round trips (PING) of redis-py": {"at_most": 1.3},
    },
    "latency": {
        "enqueue to result, p50 of 3": {"at_most": 4.0},
        "enqueue to result, p99": {"at_most": 10.0},
        "lag of a followed line, p50 of 3": {"at_most": 30.0},
    },
    "interrupts": {
        "interrupt to process group gone, p50 of 2": {"at_most": 3.0},
        "interrupt to process group gone, p99": {"at_most": 10.0},
    },
    "recovery": {
        "SIGKILL of a worker to its processes gone and jobs settled, longest of 1": {"at_most": 2.0},
        "loss of a host to its jobs settled, lease 3 s, longest of 1": {"at_most": 11.0},
        "interrupt without pub/sub to process group gone, renewal every 0.5 s, longest of 1": {"at_most": 1.5},
        "jobs killed, lost or started twice by a restart of Redis, of 50": {"at_most": 0},
    },
    "output": {"enqueue to result next to a job that never stops writing, p50": {"at_most": 2.0}},
    "memory": {
        "worker, RSS at 0 running jobs": {"at_most": 45.0},
        "worker, RSS per running job": {"at_most": 40.0},
        "Redis, per queued job": {"at_most": 450.0},
        "Redis, per finished job with 40 B of output": {"at_most": 750.0},
    },
    "scale": {
        **{f"{verb} with 200 waiting jobs": {"at_most": 2.0} for verb in ("claim", "ls", "queues", "show")},
        "one renewal of all 20 leases of 40 running jobs, time in Redis": {"at_most": 50.0},
        "calls of an idle worker, 2 workers on one queue": {"at_most": 1.0},
        "10 MB written by 100 jobs at once, 2 of them followed: enqueue to result of other jobs": {"at_most": 2.0},
        "10 MB written by 100 jobs at once, 2 of them followed: growth of the worker": {"at_most": 100.0},
    },
    "floor": {},
    "local": {},
}


@pytest.mark.thorough
@pytest.mark.parametrize("family", LINES)
def test_every_line_of_a_family_is_measured_and_shown(
    family: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if family in {"throughput", "floor"} and shutil.which("xargs") is None:
        pytest.skip("xargs is not installed")
    file = tmp_path / "numbers.json"

    code = main(["--quick", "--only", family, "--json", str(file)], quick=TINY)

    assert code == 0
    lines = json.loads(file.read_text())["lines"]
    assert [(line["name"], line["unit"]) for line in lines] == LINES[family]
    assert {line["name"]: line["target"] for line in lines if line["target"]} == TARGETS[family]
    assert {line["family"] for line in lines} == {family}
    shown = capsys.readouterr().out
    assert [name for name, _ in LINES[family] if name not in shown] == []
    assert f"of {len(TARGETS[family])} targets met" in shown


def test_job_that_fails_spoils_the_measurement() -> None:
    with a_fleet() as fleet:
        fleet.start_worker(1, concurrency=2, warm_up=1)

        jobs = fleet.enqueue([TRUE, ("/bin/false",)])
        fleet.wait_until_drained()

        with pytest.raises(MeasurementSpoilt, match="FAILED"):
            fleet.check(jobs)
        fleet.check(jobs[1:], JobState.FAILED)
        with pytest.raises(MeasurementSpoilt):
            fleet.check(jobs[:1], output_bytes=40)


def test_worker_that_dies_spoils_the_measurement() -> None:
    with a_fleet() as fleet:
        fleet.start_worker(1, concurrency=2, warm_up=1)
        with fleet.frozen_workers():
            fleet.enqueue([TRUE])
            fleet.workers[0].process.kill()

        with pytest.raises(MeasurementSpoilt, match="a worker exited with -9"):
            fleet.wait_until_drained()


def test_spoilt_measurement_is_an_error_that_names_the_family(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(local, "TRUE", ("/bin/false",))

    code = main(["--quick", "--only", "local"], quick=TINY)

    assert code == 1
    assert "local: spoilt: not every command of run_commands succeeded" in capsys.readouterr().err


def test_target_is_met_only_on_its_own_side() -> None:
    floor, ceiling = Target.at_least(20_000), Target.at_most(10.0)

    met = [Line("", value, "", target=target).is_met for target in (floor, ceiling) for value in (9.0, 10.0, 20_000.0)]

    assert met == [False, False, True, True, True, False]
    assert Line("", 1.0, "").is_met is None


def test_percentiles_are_in_milliseconds() -> None:
    p50, p99 = quantiles_of([each / 1000 for each in range(1, 102)], "span")

    assert (p50.name, p50.value, p99.name, p99.value) == ("span, p50 of 101", 51.0, "span, p99", 100.0)
