"""A worker that receives interrupts in one way only; a program that tests run.

Usage: ``crippled_worker.py without-announcements|without-renewals ARGUMENT…``, with the arguments of the real worker.
With ``oneshot_queue.workers.worker`` and a number it is the worker process that the supervisor starts. Without
announcements it never subscribes; without renewals it ignores the orders in the replies to its renewals. When it ends,
it prints how many interrupts were announced to it and how many its renewals brought.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any

import anyio

import oneshot_queue.workers.main
from oneshot_queue.cli import main
from oneshot_queue.store.leases import Intent
from oneshot_queue.store.transport.pubsub import Announcements
from oneshot_queue.workers.ipc.channel import Channel
from oneshot_queue.workers.worker import wiring
from oneshot_queue.workers.worker.__main__ import run_worker_process
from oneshot_queue.workers.worker.orders import Orders
from oneshot_queue.workers.worker.services.interrupt_listener import InterruptListener
from oneshot_queue.workers.worker.services.lease_keeper import LeaseKeeper
from oneshot_queue.workers.worker.state.leases import Lease

listeners: list[InterruptListener] = []
brought: list[Intent] = []


class CountedOrders:
    """The interrupts that renewals bring: counted, and carried out unless renewals are disabled."""

    def __init__(self, orders: Orders, *, may_act: bool) -> None:
        self._orders = orders
        self._may_act = may_act

    def stale(self, lease: Lease) -> list[Intent]:
        """As ``Orders.stale``."""
        return self._orders.stale(lease)

    def carry_out(self, lease: Lease, intents: Iterable[Intent]) -> int:
        """As ``Orders.carry_out``."""
        listed = list(intents)
        brought.extend(listed)
        return self._orders.carry_out(lease, listed) if self._may_act else 0


def cripple(how: str) -> None:
    """Take one of the two ways from every worker that is built from now on."""

    def lease_keeper(*arguments: Any, orders: Orders, **options: Any) -> LeaseKeeper:
        return LeaseKeeper(*arguments, orders=CountedOrders(orders, may_act=how == "without-announcements"), **options)

    def listener(*arguments: Any) -> InterruptListener:
        listeners.append(InterruptListener(*arguments))
        return listeners[-1]

    async def receive_nothing(_: Announcements) -> None:
        await anyio.sleep_forever()

    wiring.LeaseKeeper = lease_keeper  # type: ignore[attr-defined, assignment]
    wiring.InterruptListener = listener  # type: ignore[attr-defined, assignment]
    if how == "without-announcements":
        Announcements.run = receive_nothing  # type: ignore[method-assign, assignment]


def run(how: str, words: list[str]) -> int:
    """Run the worker, and print at its end which way the interrupts came."""
    if words[0] != "oneshot_queue.workers.worker":
        oneshot_queue.workers.main.WORKER_PROGRAM = (
            sys.executable,
            "-P",
            __file__,
            how,
            "oneshot_queue.workers.worker",
        )
        return main(["worker", *words])
    cripple(how)
    code = run_worker_process(Channel.inherited(int(words[1])))
    for each in listeners:
        print(f"announced {each.heard}, renewals brought {len(brought)}", file=sys.stderr)  # noqa: T201
    return code


if __name__ == "__main__":
    sys.exit(run(sys.argv[1], sys.argv[2:]))
