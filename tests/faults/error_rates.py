"""The rate of errors between a worker and its server: only a rate reveals a hot loop."""

from __future__ import annotations

import time
from typing import Any, Final

from tests.support.waiting import wait_until
from tests.support.worker_process import WorkerProcess

_OBSERVED_S: Final = 4.0


class Errors:
    """Counts the errors from now on, in the log of the worker and in the statistics of the server."""

    def __init__(self, server: Any, worker: WorkerProcess) -> None:
        self._server = server
        self._worker = worker
        self._before = self._count()
        self._began_s = time.monotonic()

    def assert_rare(self, most_per_s: float) -> None:
        """Observe for some seconds, and fail if the errors per second reach ``most_per_s``."""

        def rate() -> tuple[float, float]:
            passed_s = time.monotonic() - self._began_s
            return passed_s, (self._count() - self._before) / passed_s

        _, per_s = wait_until(rate, lambda seen: seen[0] >= _OBSERVED_S, what="some seconds to pass")
        assert per_s < most_per_s, f"{per_s:g} errors per second; the worker logged: {self._worker.lines}"

    def _count(self) -> int:
        logged = sum("ERROR" in line or "WARNING" in line for line in self._worker.lines)
        # NOSCRIPT is the normal way to load a script.
        replies = {name: each["count"] for name, each in self._server.info("errorstats").items()}
        replies.pop("errorstat_NOSCRIPT", 0)
        refused = self._server.info("stats").get("rejected_connections", 0)
        return int(logged + sum(replies.values()) + refused)
