"""A callback is called when its own descriptor is readable, and for no other."""

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


async def test_callback_is_called_while_there_is_something_to_read(readiness: Readiness) -> None:
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


async def test_reused_descriptor_number_does_not_get_the_event_of_the_closed_one(
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
        "the second descriptor was closed before its callback ran, and its successor has nothing to read"
    )


async def test_patient_descriptors_take_turns_and_urgent_ones_do_not_wait(readiness: Readiness) -> None:
    pipes = [os.pipe() for _ in range(4)]
    calls = dict.fromkeys(range(4), 0)
    in_turn: list[int] = []

    def on_readable(number: int) -> None:
        calls[number] += 1
        in_turn.append(number)

    for number, (reading, writing) in enumerate(pipes):
        os.write(writing, b"x")  # never read, so it stays readable
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
