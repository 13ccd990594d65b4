"""The Dockerfile and docker-compose.yml, read as files: no container engine is needed."""

import re
import tomllib
from typing import Any

import yaml

from tests.support.repository import ROOT

COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
REDIS: dict[str, Any] = COMPOSE["services"]["redis"]
WORKER: dict[str, Any] = COMPOSE["services"]["worker"]
DOCKERFILE = (ROOT / "Dockerfile").read_text()
STEPS = [line.split(maxsplit=1) for line in re.sub(r"\\\n", " ", DOCKERFILE).splitlines() if line and line[0] != "#"]


def test_redis_keeps_what_it_accepted() -> None:
    command = " ".join(REDIS["command"])

    assert "--appendonly yes" in command
    assert "--maxmemory-policy noeviction" in command
    assert any(volume.endswith(":/data") for volume in REDIS["volumes"])


def test_no_port_is_open_to_the_host() -> None:
    assert not [
        name for name, service in COMPOSE["services"].items() if "ports" in service or "network_mode" in service
    ]


def test_worker_can_be_scaled() -> None:
    assert "container_name" not in WORKER
    assert "hostname" not in WORKER, "all workers would share it, and the health check identifies a worker by it"


def test_worker_waits_for_a_healthy_redis() -> None:
    assert WORKER["depends_on"]["redis"]["condition"] == "service_healthy"


def test_an_init_is_pid_1() -> None:
    assert all(service["init"] is True for service in COMPOSE["services"].values())


def test_every_service_has_a_health_check_that_its_image_can_run() -> None:
    assert REDIS["healthcheck"]["test"] == ["CMD", "redis-cli", "ping"]
    kind, program, *_, script = WORKER["healthcheck"]["test"]
    assert (kind, program) == ("CMD", "python")
    assert f"COPY deploy/{script.rpartition('/')[2]} {script.rpartition('/')[0]}/" in DOCKERFILE


def test_worker_has_time_to_drain() -> None:
    stop_after_s = int(WORKER["stop_grace_period"].removesuffix("s"))

    assert stop_after_s > 30 + 10, "--drain-timeout, then the grace of a job"


def test_worker_has_the_url_of_redis() -> None:
    assert WORKER["environment"]["ONESHOT_QUEUE_URL"] == "redis://redis:6379/0"


def test_image_runs_as_an_ordinary_user() -> None:
    last_stage = STEPS[max(number for number, (step, *_) in enumerate(STEPS) if step == "FROM") :]

    users = [rest for step, rest in last_stage if step == "USER"]

    assert users
    assert users[-1] not in {"root", "0"}


def test_image_starts_the_worker_without_a_shell_in_between() -> None:
    assert ["ENTRYPOINT", '["oneshot-queue"]'] in STEPS
    assert ["CMD", '["worker"]'] in STEPS


def test_image_installs_what_is_pinned() -> None:
    installs = [part for step, rest in STEPS if step == "RUN" for part in rest.split("&&") if "pip install" in part]

    assert installs
    assert all("--constraint requirements.txt" in part for part in installs)


def test_image_has_a_python_that_the_project_supports() -> None:
    floor = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"]
    versions = re.findall(r"^FROM python:3\.(\d+)-slim", DOCKERFILE, re.MULTILINE)

    assert len(set(versions)) == 1
    assert floor == ">=3.11"
    assert 11 <= int(versions[0]) <= 13


def test_builder_gets_exactly_what_is_copied() -> None:
    sent = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = {
        source
        for step, rest in STEPS
        if step == "COPY" and not rest.startswith("--from")
        for source in rest.split()[:-1]
    }

    assert sent == copied
    assert all((ROOT / path).exists() for path in sent)
