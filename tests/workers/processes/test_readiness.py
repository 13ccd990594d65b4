"""Whoever waits for a descriptor is called, and nobody for another's."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from functools import partial

import pytest

from oneshot_queue.workers.processes.readiness import Readiness


@pytest.fixture
def readiness() -> Iterator[Readiness]:
    made = Readiness()
    yield made
    made.close()


async def test_a_callback_comes_as_long_as_there_is_something_to_read(readiness: Readiness) -> None:
    reading, writing = os.pipe()
    seen: list[bytes] = []
    ended = asyncio.Event()

    def on_readable() -> None:
        seen.append(os.read(reading, 1))
        if not seen[-1]:
            readiness.forget(reading)
            ended.set()

    readiness.watch(reading, on_readable)
    os.write(writing, b"ab")
    os.close(writing)
    await asyncio.wait_for(ended.wait(), 5)
    os.close(reading)

    assert seen == [b"a", b"b", b""]


async def test_a_descriptor_that_takes_the_number_of_another_in_the_same_turn_is_not_taken_for_it(
    readiness: Readiness,
) -> None:
    silent, spare = os.pipe()
    pipes = [os.pipe() for _ in range(2)]
    called: list[str] = []
    replaced = asyncio.Event()

    def replace(own: int, other: int) -> None:
        called.append("first")
        readiness.forget(own)
        readiness.forget(other)
        os.dup2(silent, other)
        readiness.watch(other, lambda: called.append("new"))
        replaced.set()

    for (reading, writing), (other, _) in zip(pipes, reversed(pipes), strict=True):
        os.write(writing, b"x")
        readiness.watch(reading, partial(replace, reading, other))
    await asyncio.wait_for(replaced.wait(), 5)
    for reading, _ in pipes:
        readiness.forget(reading)
    for file in (silent, spare, *(file for ends in pipes for file in ends)):
        os.close(file)

    assert called == ["first"], (
        "both were readable; the second was closed before its turn, and nothing is in the new one"
    )


async def test_the_patient_take_turns_and_the_urgent_wait_for_none_of_them(readiness: Readiness) -> None:
    pipes = [os.pipe() for _ in range(4)]
    calls = dict.fromkeys(range(4), 0)
    in_turn: list[int] = []

    def on_readable(number: int) -> None:
        calls[number] += 1
        in_turn.append(number)

    for number, (reading, writing) in enumerate(pipes):
        os.write(writing, b"x")  # and nobody reads it
        readiness.watch(reading, partial(on_readable, number), is_patient=number > 0)
    for _ in range(60):
        in_turn.clear()
        await asyncio.sleep(0)
        assert sum(number > 0 for number in in_turn) <= 1
        assert in_turn == [] or 0 in in_turn
    for reading, writing in pipes:
        readiness.forget(reading)
        os.close(reading)
        os.close(writing)

    urgent, *patient = calls.values()
    assert urgent >= sum(patient) > 0
    assert max(patient) - min(patient) <= 1
