"""``bench``: measures with real workers and removes all of its keys and workers, however it ends."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from typing import Any

import pytest
import redis

from tests.support.command_line import Cli
from tests.support.servers import Server
from tests.support.waiting import wait_until


@pytest.fixture
def bare(server: Server) -> Iterator[Any]:
    with redis.Redis.from_url(server.url, protocol=2) as client:
        yield client


def bench_keys(bare: Any) -> list[bytes]:
    return list(bare.scan_iter(match="{bench-*", count=1000))


@pytest.mark.thorough
def test_added_latency_is_measured_and_only_keys_of_others_remain(cli: Cli, bare: Any) -> None:
    cli("enqueue", "true")
    before = sorted(bare.scan_iter(match=f"{{{cli.namespace}*"))

    done = cli("bench", "--quick", "--only", "interrupts", "--only", "recovery", "--rtt", "0,20", "--json")

    assert done.code == 0
    assert done.json["quick"] is True
    assert int(done.json["machine"]["CPUs"]) >= 1
    lines = {(line["family"], line["rtt_ms"], line["name"]): line for line in done.json["lines"]}
    name = "interrupt to its confirmation, p50 of 50"
    near, far = lines["interrupts", 0.0, name], lines["interrupts", 20.0, name]
    assert 0 < near["value"] < 20 < far["value"]
    assert {rtt for family, rtt, _ in lines if family == "recovery"} == {0.0, 20.0}
    assert bench_keys(bare) == []
    assert sorted(bare.scan_iter(match=f"{{{cli.namespace}*")) == before


@pytest.mark.thorough
def test_a_terminal_gets_a_table_with_bars(cli: Cli) -> None:
    words = ("bench", "--quick", "--only", "interrupts", "--rtt", "0")

    piped, shown = cli(*words).text, cli.on_terminal(*words, columns=120).done().text

    assert "interrupt to process group gone, p50 of 50" in piped
    assert "█" not in piped
    assert "█" in shown


@pytest.mark.thorough
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_a_signal_leaves_neither_keys_nor_workers(cli: Cli, bare: Any, number: signal.Signals) -> None:
    running = cli.start("bench", "--only", "latency", "--rtt", "0")
    running.until("Redis", on="out")
    wait_until(lambda: [name for name in bench_keys(bare) if b":worker:" in name], what="the worker of the benchmark")

    running.signal(number)

    assert running.done().code == 130
    assert bench_keys(bare) == []
    # A fixture checks after every test that no process is left.


def test_an_unreachable_broker_is_reported(cli: Cli) -> None:
    done = cli("--url", "redis://127.0.0.1:1", "bench", "--quick")

    assert done.code == 5
    assert "127.0.0.1:1" in done.err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--only", "speed"), "--only: unknown benchmark 'speed'; benchmarks: throughput, enqueueing"),
        (("--rtt", "0,far"), "--rtt: 'far' must be milliseconds from 0 to 1000"),
        (("--rtt", "-1"), "--rtt: '-1' must be"),
        (("--rtt", "nan"), "--rtt: 'nan' must be"),
        (("--rounds", "0"), "--rounds: '0' must be a whole number from 1 to 100"),
    ],
)
def test_invalid_options_are_rejected(cli: Cli, words: tuple[str, ...], message: str) -> None:
    done = cli("bench", *words)

    assert done.code == 2
    assert message in done.err


@pytest.mark.thorough
def test_json_is_one_object(cli: Cli) -> None:
    done = cli("bench", "--quick", "--only", "recovery", "--rtt", "0", "--json")

    assert set(json.loads(done.line)) == {"machine", "quick", "lines"}
