"""Fixtures of the store's conformance suite, which runs unchanged on fakeredis and on every real server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import partial

import pytest

from oneshot_queue.store.keys import QueueKeys
from tests.support.builders import Store, opened
from tests.support.clients import KINDS, OpenQueue, opened_client
from tests.support.servers import Server, ServerKind, ServerProcess


@pytest.fixture
def keys(namespace: str, queue_name: str) -> QueueKeys:
    return QueueKeys(namespace, queue_name)


@pytest.fixture
async def store(server: Server, keys: QueueKeys) -> AsyncIterator[Store]:
    async with opened(server.url, keys) as store:
        yield store


@pytest.fixture
def real_server(server_kind: ServerKind, request: pytest.FixtureRequest) -> ServerProcess:
    """A real server for this test alone, for what fakeredis does not emulate: memory limits, logins, restarts."""
    if not server_kind.is_real:
        pytest.skip("fakeredis has no memory limit, no login and no persistent data")
    started: ServerProcess = request.getfixturevalue("fresh_server")
    return started


@pytest.fixture
async def real_store(real_server: ServerProcess, keys: QueueKeys) -> AsyncIterator[Store]:
    async with opened(real_server.url, keys) as store:
        yield store


@pytest.fixture(params=KINDS)
def open_queue(request: pytest.FixtureRequest, server: Server, keys: QueueKeys) -> OpenQueue:
    """Opens the asynchronous or the blocking client of the test's queue; both pass the same tests."""
    return partial(opened_client, request.param, server.url, keys)
