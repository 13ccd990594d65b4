"""What the doctor reports about a server, given what the server reports about itself."""

from __future__ import annotations

import pytest

from oneshot_queue.client.doctor.advisories import Version, advisories_of
from oneshot_queue.client.doctor.findings import Report, Severity
from oneshot_queue.client.doctor.meanings import KINDS
from oneshot_queue.client.doctor.server import (
    examine_clocks,
    examine_memory,
    examine_persistence,
    examine_replication,
    examine_version,
)


def noted(report: Report) -> list[tuple[str, str]]:
    return [(each.code, each.what) for each in report.findings()]


@pytest.mark.parametrize(
    ("version", "is_valkey", "names"),
    [
        ((6, 2, 1), False, {"CVE-2025-49844", "redis#8725", "redis#15478"}),
        ((6, 2, 20), False, {"redis#15478"}),
        ((7, 0, 3), False, {"CVE-2025-49844", "CVE-2022-31144", "CVE-2022-35951", "redis#12301", "redis#15478"}),
        ((7, 0, 15), False, {"CVE-2025-49844", "redis#12301", "redis#15478"}),
        ((7, 2, 11), False, {"redis#15478"}),
        ((7, 4, 5), False, {"CVE-2025-49844", "redis#15478"}),
        ((8, 0, 4), False, {"redis#15478"}),
        ((8, 2, 1), False, {"CVE-2025-49844", "CVE-2025-62507", "redis#15478"}),
        ((8, 2, 2), False, {"CVE-2025-62507", "redis#15478"}),
        ((8, 2, 9), False, set()),
        ((8, 4, 0), False, set()),
        ((8, 1, 3), True, {"CVE-2025-49844"}),
        ((8, 1, 4), True, set()),
        ((9, 0, 0), True, set()),
    ],
)
def test_known_advisories_of_a_version(version: Version, is_valkey: bool, names: set[str]) -> None:
    assert {advisory.name for advisory in advisories_of(version, is_valkey=is_valkey)} == names


def test_valkey_is_checked_by_its_own_version() -> None:
    report = Report()

    examine_version({"server_name": "valkey", "redis_version": "7.2.4", "valkey_version": "8.1.4"}, report)

    assert noted(report) == []


def test_server_that_is_too_old_or_hides_its_version_is_reported() -> None:
    old, silent = Report(), Report()

    examine_version({"redis_version": "5.0.14"}, old)
    examine_version({"redis_version": "none of your business"}, silent)

    assert ("old-version", "it is Redis 5.0.14") in noted(old)
    assert noted(silent) == [("server-silent", "cannot read the server's version")]


def test_eviction_and_nearly_full_memory_are_reported() -> None:
    report = Report()

    examine_memory({"maxmemory_policy": "allkeys-lru", "maxmemory": "1000", "used_memory": "950"}, report)

    assert noted(report) == [
        ("evicts", "maxmemory-policy is allkeys-lru"),
        ("memory-short", "95% of maxmemory is used"),
    ]


@pytest.mark.parametrize("info", [{}, {"maxmemory_policy": "noeviction", "maxmemory": "0", "used_memory": "9"}])
def test_memory_without_a_limit_is_fine(info: dict[str, str]) -> None:
    report = Report()

    examine_memory(info, report)

    assert noted(report) == []


@pytest.mark.parametrize(
    ("info", "fsync", "save", "codes"),
    [
        ({"aof_enabled": "1"}, "everysec", "", ["loss-window"]),
        ({"aof_enabled": "1"}, "always", "", []),
        ({"aof_enabled": "1"}, "no", "", ["slow-sync"]),
        ({"aof_enabled": "1"}, None, None, []),
        ({"aof_enabled": "0"}, "everysec", "", ["no-persistence"]),
        ({"aof_enabled": "0", "rdb_changes_since_last_save": "7"}, "everysec", "60 1", ["snapshots-only"]),
        ({"aof_last_write_status": "err"}, None, None, ["write-failed"]),
        ({"rdb_last_bgsave_status": "err", "aof_last_bgrewrite_status": "ok"}, None, None, ["write-failed"]),
        ({}, None, None, []),
    ],
)
def test_what_a_crash_would_lose_is_reported(
    info: dict[str, str], fsync: str | None, save: str | None, codes: list[str]
) -> None:
    report = Report()

    examine_persistence(info, fsync, save, report)

    assert [code for code, _ in noted(report)] == codes


@pytest.mark.parametrize(
    ("info", "codes"),
    [
        ({"role": "master", "connected_slaves": "0"}, []),
        ({"role": "master", "connected_slaves": "2"}, ["replicas"]),
        ({"role": "slave", "connected_slaves": "0"}, ["is-replica"]),
    ],
)
def test_replicas_are_reported(info: dict[str, str], codes: list[str]) -> None:
    report = Report()

    examine_replication(info, report)

    assert [code for code, _ in noted(report)] == codes


@pytest.mark.parametrize(
    ("server_ms", "severity"),
    [(99_500, None), (101_900, None), (98_900, Severity.INFO), (102_100, Severity.INFO), (140_000, Severity.PROBLEM)],
)
def test_clocks_that_differ_are_reported(server_ms: int, severity: Severity | None) -> None:
    report = Report()

    examine_clocks(100_000, server_ms, 101_000, report)

    assert [each.severity for each in report.findings()] == ([severity] if severity else [])


def test_every_kind_says_what_it_means_and_what_to_do() -> None:
    for kind in KINDS.values():
        assert kind.what.format(detail="x")
        assert kind.meaning
        assert kind.advice
        assert Severity(kind.severity)


def test_hostile_detail_is_not_a_template() -> None:
    report = Report()

    report.add("index-ghost", "{subject}", "{0.__class__}", queue="q")

    (found,) = report.findings()
    assert (found.subject, found.what) == ("{subject}", "an index lists it, but the job is {0.__class__}")
