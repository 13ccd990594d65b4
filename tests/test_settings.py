"""Settings are read from the environment; an invalid one is refused by name."""

from __future__ import annotations

from dataclasses import fields

import pytest

from oneshot_queue.errors import InvalidSetting
from oneshot_queue.settings import Settings

NUMBERS = [each.name for each in fields(Settings) if each.type in ("int", "float")]


def test_without_variables_all_settings_have_their_defaults() -> None:
    assert Settings.from_env({}) == Settings()
    assert Settings.from_env({"HOME": "/", "ONESHOT_JOB_ID": "x", "oneshot_queue_url": "x"}) == Settings()


def test_defaults_are_those_that_the_readme_promises() -> None:
    settings = Settings()

    assert settings.url is None
    assert settings.keep_completed_s == 24 * 3600
    assert settings.keep_failed_s == 7 * 24 * 3600
    assert settings.max_finished_jobs == 100_000
    assert settings.max_finished_output_bytes == 256 * 1024 * 1024
    assert settings.lease_s == 30


def test_every_setting_can_be_set() -> None:
    texts = {"url": "redis://host", "namespace": "n", **dict.fromkeys(NUMBERS, "7")}

    settings = Settings.from_env({f"ONESHOT_QUEUE_{name.upper()}": text for name, text in texts.items()})

    assert {each.name for each in fields(Settings)} == texts.keys()
    assert settings == Settings(url="redis://host", namespace="n", **dict.fromkeys(NUMBERS, 7))


def test_empty_url_is_none() -> None:
    assert Settings.from_env({"ONESHOT_QUEUE_URL": ""}).url is None


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize("text", ["", "x", "0", "-1", "nan", "inf", "1e999", "0x10", "1 2"])
def test_invalid_number_is_refused_by_name(name: str, text: str) -> None:
    with pytest.raises(InvalidSetting, match=f"(?i){name}"):
        Settings.from_env({f"ONESHOT_QUEUE_{name.upper()}": text})


def test_fraction_is_refused_where_a_whole_number_is_needed() -> None:
    with pytest.raises(InvalidSetting, match=r"MAX_FINISHED_JOBS: '1\.5' is not a whole number"):
        Settings.from_env({"ONESHOT_QUEUE_MAX_FINISHED_JOBS": "1.5"})


def test_fraction_of_a_second_is_kept() -> None:
    assert Settings.from_env({"ONESHOT_QUEUE_LEASE_S": "2.5"}).lease_s == 2.5


@pytest.mark.parametrize("namespace", ["", "a b", "{x}", "a:b", "*", "x" * 65, "é", "a\n"])
def test_namespace_that_could_forge_a_key_is_refused(namespace: str) -> None:
    with pytest.raises(InvalidSetting, match="namespace"):
        Settings(namespace=namespace)


def test_empty_namespace_in_the_environment_is_refused() -> None:
    with pytest.raises(InvalidSetting, match="namespace"):
        Settings.from_env({"ONESHOT_QUEUE_NAMESPACE": ""})


def test_misspelt_setting_is_refused_and_the_right_one_is_suggested() -> None:
    with pytest.raises(
        InvalidSetting, match="ONESHOT_QUEUE_LEASE_SEC: unknown setting; did you mean ONESHOT_QUEUE_LEASE_S"
    ):
        Settings.from_env({"ONESHOT_QUEUE_LEASE_SEC": "5"})


def test_unknown_setting_is_refused_and_all_settings_are_named() -> None:
    with pytest.raises(InvalidSetting, match=r"unknown setting; the settings are .*ONESHOT_QUEUE_NAMESPACE, "):
        Settings.from_env({"ONESHOT_QUEUE_XYZZY": "5"})


@pytest.mark.parametrize("name", ["SERVICE_HOST", "SERVICE_PORT", "SERVICE_PORT_METRICS", "PORT", "PORT_6379_TCP_ADDR"])
def test_variables_that_kubernetes_sets_for_a_service_of_our_name_are_ignored(name: str) -> None:
    assert Settings.from_env({f"ONESHOT_QUEUE_{name}": "tcp://10.0.0.1:6379"}) == Settings()


def test_password_is_not_shown() -> None:
    assert "g3h3im" not in repr(Settings(url="redis://:g3h3im@host"))
