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
from oneshot_queue.store.transport.pubsub import Announcements
from oneshot_queue.workers.ipc.channel import Channel
from oneshot_queue.workers.worker import worker as worker_module
from oneshot_queue.workers.worker.__main__ import run_worker_process
from oneshot_queue.workers.worker.orders import Orders
from oneshot_queue.workers.worker.state.leases import Lease


class CountedOrders:
    """Counts the orders of renewals, and carries them out only if ``may_act``."""

    def __init__(self, orders: Orders, *, may_act: bool) -> None:
        self._orders = orders
        self._may_act = may_act
        self.brought = 0

    def stale(self, lease: Lease) -> list[Any]:
        """As ``Orders.stale``."""
        return self._orders.stale(lease)

    def carry_out(self, lease: Lease, intents: Iterable[Any]) -> int:
        """As ``Orders.carry_out``."""
        listed = list(intents)
        self.brought += len(listed)
        return self._orders.carry_out(lease, listed) if self._may_act else 0


def cripple(how: str, made: list[worker_module.Worker]) -> None:
    """Disable one of the two ways in every worker that is created from now on."""
    original = worker_module.Worker.__init__

    def init(self: worker_module.Worker, *args: Any, **options: Any) -> None:
        original(self, *args, **options)
        orders = CountedOrders(self.lease_keeper._orders, may_act=how == "without-announcements")
        self.lease_keeper._orders = orders  # type: ignore[assignment]
        made.append(self)

    async def hear_nothing(_: Announcements) -> None:
        await anyio.sleep_forever()

    worker_module.Worker.__init__ = init  # type: ignore[method-assign]
    if how == "without-announcements":
        Announcements.run = hear_nothing  # type: ignore[method-assign, assignment]


def run(how: str, words: list[str]) -> int:
    """Run the worker, and print at its end how interrupts reached it."""
    if words[0] != "oneshot_queue.workers.worker":
        oneshot_queue.workers.main.WORKER_PROGRAM = (
            sys.executable,
            "-P",
            __file__,
            how,
            "oneshot_queue.workers.worker",
        )
        return main(["worker", *words])
    made: list[worker_module.Worker] = []
    cripple(how, made)
    code = run_worker_process(Channel.inherited(int(words[1])))
    for each in made:
        orders: Any = each.lease_keeper._orders
        print(f"announced {each.interrupts.heard}, renewals brought {orders.brought}", file=sys.stderr)  # noqa: T201
    return code


if __name__ == "__main__":
    sys.exit(run(sys.argv[1], sys.argv[2:]))
