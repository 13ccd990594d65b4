"""Calls of one turn of the event loop are sent together; each caller gets its own replies or the failure."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from oneshot_queue.store.calls import Call, plain
from oneshot_queue.store.transport.coalescing import Coalescer
from oneshot_queue.store.transport.routes import ConnectionFailed, Replied


class Wire:
    """Answers each call with its own words, once ``is_open`` is set."""

    def __init__(self) -> None:
        self.exchanges: list[list[Call[Any]]] = []
        self.begun = asyncio.Queue[None]()
        self.failure: Exception | None = None
        self.is_open = asyncio.Event()
        self.is_open.set()

    async def send(self, calls: Sequence[Call[Any]]) -> Replied | ConnectionFailed:
        self.exchanges.append(list(calls))
        self.begun.put_nowait(None)
        await self.is_open.wait()
        if self.failure is not None:
            raise self.failure
        return Replied(calls, [call.words for call in calls])


def calls_of(*words: str) -> list[Call[Any]]:
    return [plain("ECHO", word, read=lambda reply: reply) for word in words]


async def at_the_same_turn(action: Callable[[], object]) -> None:
    action()


async def test_calls_of_one_turn_are_sent_together_in_order_and_each_caller_gets_its_replies() -> None:
    wire = Wire()
    coalescer = Coalescer(wire.send)
    given = [calls_of("a"), calls_of("b", "c"), [], calls_of("d")]

    results = await asyncio.gather(*(coalescer.exchange(calls) for calls in given))
    after = await coalescer.exchange(calls_of("e"))

    assert [[call.words[1] for call in calls] for calls in wire.exchanges] == [["a", "b", "c", "d"], ["e"]]
    assert [[words[1] for words in each.replies] for each in results if isinstance(each, Replied)] == [
        ["a"],
        ["b", "c"],
        [],
        ["d"],
    ]
    assert [list(each.calls) for each in results if isinstance(each, Replied)] == given
    assert isinstance(after, Replied)


async def test_calls_of_the_next_turn_do_not_wait_for_earlier_ones() -> None:
    wire = Wire()
    coalescer = Coalescer(wire.send)
    wire.is_open.clear()

    async with asyncio.TaskGroup() as group:
        for word in "ab":
            group.create_task(coalescer.exchange(calls_of(word)))
            await wire.begun.get()
        wire.is_open.set()

    assert len(wire.exchanges) == 2


async def test_a_failed_connection_fails_every_caller() -> None:
    lost = ConnectionFailed(ConnectionError("gone"), was_sent=True)

    async def send(_: Sequence[Call[Any]]) -> ConnectionFailed:
        return lost

    coalescer = Coalescer(send)
    first, second = await asyncio.gather(coalescer.exchange(calls_of("a")), coalescer.exchange(calls_of("b")))

    assert (first, second) == (lost, lost)


async def test_a_caller_cancelled_before_the_exchange_sends_nothing() -> None:
    wire = Wire()
    coalescer = Coalescer(wire.send)

    async with asyncio.TaskGroup() as group:
        first, second, third = (group.create_task(coalescer.exchange(calls_of(word))) for word in "abc")
        for each in (first, third):
            group.create_task(at_the_same_turn(each.cancel))

    assert first.cancelled()
    assert third.cancelled()
    assert isinstance(second.result(), Replied)
    assert [[call.words[1] for call in calls] for calls in wire.exchanges] == [["b"]]


@pytest.mark.parametrize("given_up", [0, 1])
async def test_a_cancelled_caller_does_not_cancel_the_others(given_up: int) -> None:
    wire = Wire()
    coalescer = Coalescer(wire.send)
    wire.is_open.clear()

    async with asyncio.TaskGroup() as group:
        callers = [group.create_task(coalescer.exchange(calls_of(word))) for word in "ab"]
        await wire.begun.get()
        callers[given_up].cancel()
        wire.is_open.set()

    result = callers[1 - given_up].result()
    assert callers[given_up].cancelled()
    assert isinstance(result, Replied)
    assert [words[1] for words in result.replies] == ["ab"[1 - given_up]]


async def test_an_error_is_raised_to_every_caller() -> None:
    wire = Wire()
    coalescer = Coalescer(wire.send)
    wire.failure = RuntimeError("closed")

    results = await asyncio.gather(*(coalescer.exchange(calls_of(word)) for word in "ab"), return_exceptions=True)

    assert results == [wire.failure, wire.failure]
