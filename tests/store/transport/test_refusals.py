"""A broker that does not answer, or refuses, is reported within five seconds, with advice and without a password."""

from __future__ import annotations

import socket
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from oneshot_queue import (
    BrokerError,
    BrokerNotConfigured,
    BrokerRefused,
    BrokerUnreachable,
    InvalidBrokerUrl,
    InvalidSetting,
    Queue,
    QueueClosed,
    Settings,
    SyncQueue,
)
from oneshot_queue.store.keys import QueueKeys
from oneshot_queue.urls import shown_url
from tests.support.builders import Store
from tests.support.clients import KINDS, opened_client
from tests.support.limits import limit_s
from tests.support.servers import ServerProcess

SECRET = "g3h3im"


@contextmanager
def listener(path: Path, answer: bytes | None) -> Iterator[str]:
    """A server that accepts every connection, then never answers, or sends a fixed answer."""
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()
        accepted: list[socket.socket] = []

        def accept() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                accepted.append(connection)
                if answer is not None:
                    connection.sendall(answer)

        thread = threading.Thread(target=accept)
        thread.start()
        try:
            yield f"unix://{path}"
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join()
            for connection in accepted:
                connection.close()


async def refusal_of(kind: str, url: str, keys: QueueKeys) -> BrokerError:
    """Return the error of a first call, after checking that it came in time and does not contain the secret."""
    begun = time.monotonic()
    with pytest.raises(BrokerError) as refusal:
        async with opened_client(kind, url, keys) as queue:
            await queue.enqueue(["true"])
    # Five seconds for the answer, and a margin for a busy machine.
    assert time.monotonic() - begun < limit_s(7)
    assert SECRET not in "".join(traceback.format_exception(refusal.value))
    return refusal.value


def test_missing_url_is_refused_with_the_ways_to_give_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ONESHOT_QUEUE_URL", raising=False)
    for kind in (Queue, SyncQueue):
        with pytest.raises(BrokerNotConfigured, match=r"ONESHOT_QUEUE_URL.*Queue\.local\(\)"):
            kind()
        with pytest.raises(BrokerNotConfigured):
            kind(settings=Settings())


def test_url_comes_from_the_environment_unless_it_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONESHOT_QUEUE_URL", "redis://from-environment")

    assert SyncQueue()._context.settings.url == "redis://from-environment"
    assert SyncQueue("redis://given")._context.settings.url == "redis://given"


@pytest.mark.parametrize("kind", KINDS)
async def test_address_without_a_listener_is_unreachable(kind: str, keys: QueueKeys, tmp_path: Path) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]

        answers = [
            await refusal_of(kind, url, keys)
            for url in (f"redis://:{SECRET}@127.0.0.1:{port}/0", f"unix://{tmp_path}/none?password={SECRET}")
        ]

    assert [type(answer) for answer in answers] == [BrokerUnreachable] * 2
    assert f"127.0.0.1:{port}" in str(answers[0])
    assert "is it running" in str(answers[0])


@pytest.mark.parametrize("kind", KINDS)
async def test_unknown_host_name_is_unreachable(kind: str, keys: QueueKeys) -> None:
    answer = await refusal_of(kind, f"redis://user:{SECRET}@no-such-host.invalid:6379/0", keys)

    assert isinstance(answer, BrokerUnreachable)
    assert "no-such-host.invalid" in str(answer)


@pytest.mark.thorough
@pytest.mark.parametrize("kind", KINDS)
async def test_server_that_accepts_and_never_answers_is_unreachable(kind: str, keys: QueueKeys, tmp_path: Path) -> None:
    with listener(tmp_path / "s", answer=None) as url:
        answer = await refusal_of(kind, url, keys)

    assert isinstance(answer, BrokerUnreachable)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("answer", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"SSH-2.0-OpenSSH_9.6\r\n", b"\0" * 99])
async def test_server_that_is_not_redis_is_a_broker_error(
    kind: str, keys: QueueKeys, tmp_path: Path, answer: bytes
) -> None:
    with listener(tmp_path / "s", answer=answer) as url:
        await refusal_of(kind, url, keys)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "url",
    [
        f"http://u:{SECRET}@host",
        f"amqp://u:{SECRET}@host",
        "localhost:6379",
        "",
        f"redis://:{SECRET}/x@host/0",
        f"redis://u:{SECRET}@host:notaport/0",
        f"redis://u:{SECRET}@host:99999/0",
        f"redis://u:a{SECRET}b/{SECRET}@host",
        "redis://[host",
    ],
)
async def test_invalid_url_is_refused(kind: str, keys: QueueKeys, url: str) -> None:
    answer = await refusal_of(kind, url, keys)

    assert isinstance(answer, InvalidBrokerUrl)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("login", ["", ":wrong{secret}@", "nobody:{secret}@", ":{secret}x@"])
async def test_wrong_login_is_refused_with_advice(
    real_server: ServerProcess, real_store: Store, kind: str, login: str
) -> None:
    await real_store.redis.config_set("requirepass", SECRET)
    host, port = real_server.address

    answer = await refusal_of(kind, f"redis://{login.format(secret=SECRET)}{host}:{port}/0", real_store.keys)

    assert isinstance(answer, BrokerRefused)
    assert "check user and password" in str(answer)


@pytest.mark.parametrize("kind", KINDS)
async def test_correct_login_is_accepted(real_server: ServerProcess, real_store: Store, kind: str) -> None:
    await real_store.redis.config_set("requirepass", SECRET)
    host, port = real_server.address

    async with opened_client(kind, f"redis://:{SECRET}@{host}:{port}/0", real_store.keys) as queue:
        await queue.ping()


@pytest.mark.parametrize("kind", KINDS)
async def test_missing_permission_is_refused_and_named(
    real_server: ServerProcess, real_store: Store, kind: str
) -> None:
    job_id = await real_store.enqueue()
    await real_store.redis.execute_command("ACL", "SETUSER", "reader", "on", f">{SECRET}", "~*", "+@all", "-hgetall")
    host, port = real_server.address

    async with opened_client(kind, f"redis://reader:{SECRET}@{host}:{port}/0", real_store.keys) as queue:
        for verb in (lambda: queue.get(job_id), queue.list):
            with pytest.raises(BrokerRefused, match="hgetall") as refusal:
                await verb()
            assert "grant this user" in str(refusal.value)
            assert SECRET not in str(refusal.value)


@pytest.mark.parametrize(
    "url",
    [
        f"redis://:{SECRET}@host/0",
        f"rediss://user:{SECRET}@host:6380/0?ssl_cert_reqs=none",
        f"redis://user:{SECRET}@{SECRET}@host",
        f"redis://user:{SECRET}/{SECRET}@host/0",
        f"redis://user:{SECRET}#{SECRET}?{SECRET}@host/0",
        f"unix:///tmp/s?password={SECRET}&db=1",
        f"redis://host/0?db=1&PASSWORD={SECRET}",
        f"redis://host:{SECRET}@x:1",
    ],
)
def test_shown_address_has_no_password(url: str) -> None:
    assert SECRET not in shown_url(url)


@pytest.mark.parametrize(
    "url", ["redis://host", "redis://host:6380/2", "redis://[::1]:6379", "unix:///run/redis.sock?db=3", "rediss://h/0"]
)
def test_shown_address_without_a_password_is_the_address(url: str) -> None:
    assert shown_url(url) == url


def test_shown_address_keeps_host_and_user() -> None:
    assert shown_url(f"redis://bert:{SECRET}@host:6380/2") == "redis://bert:***@host:6380/2"


def test_queue_outside_asyncio_says_what_it_needs() -> None:
    """As under trio: a coroutine runs without an asyncio event loop."""
    opening = Queue("redis://nowhere").__aenter__()

    with pytest.raises(InvalidSetting, match="asyncio"):
        opening.send(None)


async def test_queue_that_was_not_opened_says_so() -> None:
    queue = Queue("redis://nowhere")

    with pytest.raises(QueueClosed, match="not open"):
        await queue.ping()


async def test_queue_that_was_closed_says_so(keys: QueueKeys) -> None:
    async with Queue("redis://nowhere") as queue:
        pass

    with pytest.raises(QueueClosed, match="not open"):
        await queue.ping()


def test_unknown_setting_is_refused_before_anything_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONESHOT_QUEUE_LEASE_SEC", "5")

    for kind in (Queue, SyncQueue):
        construct: Any = kind
        with pytest.raises(InvalidSetting, match="ONESHOT_QUEUE_LEASE_S"):
            construct("redis://nowhere")
