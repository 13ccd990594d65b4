"""Whoever waits for a descriptor is called, and nobody for another's."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from functools import partial

import pytest

from workers.processes.readiness import Readiness


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
