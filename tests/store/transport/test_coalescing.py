"""What is said in one turn of the loop goes together; all get their own answers, or learn that they are lost."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from oneshot_queue.store.calls import Call, plain
from oneshot_queue.store.transport.coalescing import Coalescer
from oneshot_queue.store.transport.routes import Failed, Said


class Wire:
    """Answers each call with its own words, when it is let."""

    def __init__(self) -> None:
        self.exchanges: list[list[Call[Any]]] = []
        self.begun = asyncio.Queue[None]()
        self.failure: Exception | None = None
        self.is_open = asyncio.Event()
        self.is_open.set()

    async def say(self, calls: Sequence[Call[Any]]) -> Said | Failed:
        self.exchanges.append(list(calls))
        self.begun.put_nowait(None)
        await self.is_open.wait()
        if self.failure is not None:
            raise self.failure
        return Said(calls, [call.words for call in calls])


def calls_of(*words: str) -> list[Call[Any]]:
    return [plain("ECHO", word, read=lambda reply: reply) for word in words]


async def at_the_same_turn(action: Callable[[], object]) -> None:
    action()


async def test_calls_of_one_turn_go_together_in_order_and_each_gets_its_own_answers() -> None:
    wire = Wire()
    gatherer = Coalescer(wire.say)
    given = [calls_of("a"), calls_of("b", "c"), [], calls_of("d")]

    came = await asyncio.gather(*(gatherer.say(calls) for calls in given))
    after = await gatherer.say(calls_of("e"))

    assert [[call.words[1] for call in calls] for calls in wire.exchanges] == [["a", "b", "c", "d"], ["e"]]
    assert [[words[1] for words in each.replies] for each in came if isinstance(each, Said)] == [
        ["a"],
        ["b", "c"],
        [],
        ["d"],
    ]
    assert [list(each.calls) for each in came if isinstance(each, Said)] == given
    assert isinstance(after, Said)


async def test_calls_of_the_next_turn_do_not_wait_for_those_on_their_way() -> None:
    wire = Wire()
    gatherer = Coalescer(wire.say)
    wire.is_open.clear()

    async with asyncio.TaskGroup() as group:
        for word in "ab":
            group.create_task(gatherer.say(calls_of(word)))
            await wire.begun.get()
        wire.is_open.set()

    assert len(wire.exchanges) == 2


async def test_a_failure_of_the_connection_is_everybodys() -> None:
    lost = Failed(ConnectionError("gone"), was_sent=True)

    async def say(_: Sequence[Call[Any]]) -> Failed:
        return lost

    gatherer = Coalescer(say)
    first, second = await asyncio.gather(gatherer.say(calls_of("a")), gatherer.say(calls_of("b")))

    assert (first, second) == (lost, lost)


async def test_whoever_is_cancelled_before_anything_was_said_says_nothing() -> None:
    wire = Wire()
    gatherer = Coalescer(wire.say)

    async with asyncio.TaskGroup() as group:
        first, second, third = (group.create_task(gatherer.say(calls_of(word))) for word in "abc")
        for each in (first, third):
            group.create_task(at_the_same_turn(each.cancel))

    assert first.cancelled()
    assert third.cancelled()
    assert isinstance(second.result(), Said)
    assert [[call.words[1] for call in calls] for calls in wire.exchanges] == [["b"]]


@pytest.mark.parametrize("given_up", [0, 1])
async def test_whoever_is_cancelled_takes_nobody_along(given_up: int) -> None:
    wire = Wire()
    gatherer = Coalescer(wire.say)
    wire.is_open.clear()

    async with asyncio.TaskGroup() as group:
        callers = [group.create_task(gatherer.say(calls_of(word))) for word in "ab"]
        await wire.begun.get()
        callers[given_up].cancel()
        wire.is_open.set()

    came = callers[1 - given_up].result()
    assert callers[given_up].cancelled()
    assert isinstance(came, Said)
    assert [words[1] for words in came.replies] == ["ab"[1 - given_up]]


async def test_an_error_is_raised_to_all_of_them() -> None:
    wire = Wire()
    gatherer = Coalescer(wire.say)
    wire.failure = RuntimeError("closed")

    came = await asyncio.gather(*(gatherer.say(calls_of(word)) for word in "ab"), return_exceptions=True)

    assert came == [wire.failure, wire.failure]
