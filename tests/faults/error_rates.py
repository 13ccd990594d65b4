"""How many errors there are per second between a worker and its server: a count alone tells no hot loop."""

from __future__ import annotations

import time
from typing import Any, Final

from tests.support.waiting import wait_until
from tests.support.worker_process import WorkerProcess

_OBSERVED_S: Final = 4.0


class Errors:
    """What goes wrong from now on, as the worker and the server tell it."""

    def __init__(self, server: Any, worker: WorkerProcess) -> None:
        self._server = server
        self._worker = worker
        self._before = self._count()
        self._began_s = time.monotonic()

    def assert_rare(self, most_per_s: float) -> None:
        """Wait until there was time for many, and fail if there were."""

        def rate() -> tuple[float, float]:
            passed_s = time.monotonic() - self._began_s
            return passed_s, (self._count() - self._before) / passed_s

        _, per_s = wait_until(rate, lambda seen: seen[0] >= _OBSERVED_S, what="some seconds to pass")
        assert per_s < most_per_s, f"{per_s:g} errors per second; it said: {self._worker.lines}"

    def _count(self) -> int:
        told = sum("ERROR" in line or "WARNING" in line for line in self._worker.lines)
        # NOSCRIPT is how a server gets to know a script.
        replies = {name: each["count"] for name, each in self._server.info("errorstats").items()}
        replies.pop("errorstat_NOSCRIPT", 0)
        refused = self._server.info("stats").get("rejected_connections", 0)
        return int(told + sum(replies.values()) + refused)
