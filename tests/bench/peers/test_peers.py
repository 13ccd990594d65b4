"""In the comparison, peers take turns, failures are not mistaken for speed, and missing peers are listed.

No real peer is installed: a small fake one replaces them, in processes of its own.
"""

import json
import shutil
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from oneshot_queue.bench.figures import MeasurementSpoilt
from tests.bench.peers.__main__ import PEERS, main
from tests.bench.peers.environments import Environment
from tests.bench.peers.own import OwnQueue
from tests.bench.peers.peer import Peer, PeerMissing, Turn, Work, check
from tests.bench.peers.programs import XARGS, Program
from tests.bench.peers.queue_peer import QueuePeer
from tests.bench.peers.rounds import take_turns

FAKE = QueuePeer("fake", "tests.bench.peers.fake", None)
WORK = Work(commands=6, warm_up=2)


@dataclass
class Scripted:
    """A peer that records its name instead of working."""

    name: str
    witness: list[str]
    took_s: float = 1.0
    missing: str | None = None
    problems: list[str] = field(default_factory=list)

    def describe(self) -> tuple[str, str]:
        if self.missing is not None:
            raise PeerMissing(self.missing)
        return "1.0", "as it is"

    def take_turn(self, _work: Work) -> Turn:
        if self.problems:
            raise MeasurementSpoilt(self.problems.pop())
        self.witness.append(self.name)
        return Turn(self.took_s, used_s=0.5)


def test_eleven_other_systems_are_compared() -> None:
    names = {"xargs", "parallel", "hyperqueue", "rq", "celery", "saq", "arq", "streaq", "dramatiq", "huey", "docket"}

    assert set(PEERS) == names | {"oneshot-queue", "oneshot-queue-1", "oneshot-queue-2"}


def test_peers_take_turns_round_by_round() -> None:
    witness: list[str] = []
    peers = [Scripted(name, witness) for name in ("xargs", "a", "b")]

    standings = take_turns(peers, WORK, 3, report=print)

    assert witness == ["xargs", "a", "b"] * 3
    assert [len(standing.turns) for standing in standings] == [3, 3, 3]


@pytest.mark.thorough
def test_real_processes_do_the_work_and_the_report_says_how_fast(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if shutil.which("xargs") is None:
        pytest.skip("xargs is not installed")
    file = tmp_path / "numbers.json"
    peers: dict[str, Peer] = {"xargs": XARGS, "own": OwnQueue(1), "fake": FAKE}

    code = main(["--rounds", "2", "--commands", "6", "--json", str(file)], peers=peers)

    assert code == 0
    result = json.loads(file.read_text())
    assert (result["commands"], result["rounds"]) == (6, 2)
    assert [peer["name"] for peer in result["peers"]] == ["xargs", "oneshot-queue, 1 process, -c 4", "fake"]
    for peer in result["peers"]:
        assert len(peer["rates"]) == len(peer["of_xargs"]) == 2
        assert all(rate > 0 for rate in peer["rates"])
        assert peer["missing"] is None
    assert result["peers"][0]["of_xargs"] == [1.0, 1.0]
    shown = capsys.readouterr().out
    assert "| fake" in shown
    assert "threads, and a worker that does nothing" in shown


def test_ratio_is_computed_within_a_round(capsys: pytest.CaptureFixture[str]) -> None:
    witness: list[str] = []
    peers: dict[str, Peer] = {
        "xargs": Scripted("xargs", witness, took_s=1.0),
        "slow": Scripted("slow", witness, took_s=4.0),
    }

    main(["--rounds", "1", "--commands", "100"], peers=peers)

    (row,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| slow")]
    assert [cell.strip() for cell in row.split("|")[1:-1]] == [
        *("slow 1.0", "25", "25 … 25", "0.25", "5,000", "as it is")
    ]


def test_missing_peer_is_listed_with_the_reason(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "numbers.json"
    peers: dict[str, Peer] = {
        "there": Scripted("there", []),
        "program": Program("a program", ("no-such-program-here",), "", package="nowhere"),
        "queue": QueuePeer("a queue", "tests.bench.peers.no_such_module", None),
    }

    code = main(["--rounds", "1", "--json", str(file)], peers=peers)

    assert code == 0
    shown = capsys.readouterr().out
    assert "- a program: not measured: no-such-program-here is not on PATH (Debian package: nowhere)" in shown
    assert "- a queue: not measured: it does not start: it exited:" in shown
    assert [peer["missing"] is None for peer in json.loads(file.read_text())["peers"]] == [True, False, False]


@pytest.mark.thorough
def test_failed_installation_is_reported_and_retried(tmp_path: Path) -> None:
    requirements = tmp_path / "requirements.txt"
    requirements.write_text("--no-index\nno-such-package-at-all==1\n")
    environment = Environment(tmp_path / "environment", requirements)

    for _ in range(2):
        with pytest.raises(PeerMissing, match=r"pip cannot install it: .*no-such-package-at-all"):
            environment.install()


def test_command_that_fails_spoils_the_measurement(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_COMMAND", "/bin/false")

    with pytest.raises(MeasurementSpoilt, match=r"6 results should be \(0, '', ''\), .* 6 times \(1, '', ''\)"):
        FAKE.take_turn(WORK)


def test_worker_that_exits_spoils_the_measurement(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_WORKER", "/bin/false")

    with pytest.raises(MeasurementSpoilt, match="a worker exited with 1"):
        FAKE.take_turn(WORK)


def test_spoilt_measurement_is_an_error_that_names_the_peer(capsys: pytest.CaptureFixture[str]) -> None:
    peers: dict[str, Peer] = {"a": Scripted("a", [], problems=["one job is lost"])}

    code = main(["--rounds", "1"], peers=peers)

    assert code == 1
    assert "spoilt: a: one job is lost" in capsys.readouterr().err


def test_missing_result_or_unexpected_output_spoils_the_measurement() -> None:
    check(Counter({(0, "", ""): 3}), 3)
    for found in ({(0, "", ""): 2}, {(0, "", ""): 2, (0, "hi", ""): 1}, {}):
        with pytest.raises(MeasurementSpoilt, match="3 results"):
            check(Counter(found), 3)
