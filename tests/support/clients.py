"""Both clients behind one interface, so that the same tests cover ``Queue`` and ``SyncQueue``.

The blocking queue's verbs run in a thread, one at a time for each queue, and are awaited.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from functools import partial
from typing import Any, Final

import pytest
from anyio import to_thread

from oneshot_queue import Settings, SyncJob, SyncQueue
from oneshot_queue.store.keys import QueueKeys
from tests.support.builders import a_queue

KINDS: Final = ("Queue", "SyncQueue")

by_one_client = pytest.mark.parametrize("open_queue", KINDS[:1], indirect=True)
"""For many cases of code that both clients share."""

OpenQueue = Callable[..., AbstractAsyncContextManager[Any]]


class Awaited:
    """A blocking queue or job whose verbs are awaited."""

    def __init__(self, target: Any) -> None:
        self._target = target

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._target, name)
        return partial(self._call, value) if callable(value) else value

    async def output(self, **options: Any) -> AsyncGenerator[Any, None]:
        chunks = self._target.output(**options)
        end = object()
        try:
            while (chunk := await _in_thread(next, chunks, end)) is not end:
                yield chunk
        finally:
            with suppress(ValueError):  # abandoned in the middle of a step
                chunks.close()

    async def _call(self, verb: Callable[..., Any], *args: Any, **options: Any) -> Any:
        result = await _in_thread(partial(verb, *args, **options))
        return [_awaited(each) for each in result] if isinstance(result, list) else _awaited(result)


async def _in_thread(call: Callable[..., Any], *args: Any) -> Any:
    # Abandoned on cancellation, so that the test's own failure is reported instead of a timeout.
    return await to_thread.run_sync(call, *args, abandon_on_cancel=True)


def _awaited(result: Any) -> Any:
    return Awaited(result) if isinstance(result, SyncJob) else result


@asynccontextmanager
async def opened_client(kind: str, url: str, keys: QueueKeys, **settings: Any) -> AsyncIterator[Any]:
    """Open an asynchronous or a blocking client."""
    if kind == "Queue":
        async with a_queue(url, keys, **settings) as queue:
            yield queue
    else:
        with SyncQueue(url, queue=keys.queue, settings=Settings(namespace=keys.namespace, **settings)) as blocking:
            yield Awaited(blocking)
