"""Ctrl-C during ``run``: the first interrupts the job, the second kills it, the third stops waiting for it.

SIGTERM and SIGHUP count as a Ctrl-C each: ``run`` stands for its job, so who ends the one means the other. A signal
that was ignored when we started (``nohup``) stays ignored.
"""

from __future__ import annotations

import signal
import threading
from contextlib import suppress
from queue import SimpleQueue
from types import FrameType
from typing import TYPE_CHECKING, Any, Final, Self

from oneshot_queue.cli.arguments.destination import Destination
from oneshot_queue.cli.output.terminal import say
from oneshot_queue.errors import InterruptNotConfirmed, OneshotQueueError

if TYPE_CHECKING:
    from oneshot_queue.client.sync_queue import SyncQueue

_LOOK_AGAIN_S: Final = 3.0
_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_NAMES: Final = {signal.SIGINT: "Ctrl-C", signal.SIGTERM: "SIGTERM", signal.SIGHUP: "SIGHUP"}


class CtrlC:
    """Turns signals into interrupts of one job, on a thread and a connection of its own.

    The main thread may be blocked by whoever reads our output, or by a broker that is slow; an interrupt waits for
    neither. It is sent as soon as the job is known to be stored.

    Attributes:
        silence: Why there is nothing to wait for any more: the worker of the interrupted job gives no sign of life.
            When this is found out, KeyboardInterrupt is raised in the main thread, as by a third press.
    """

    def __init__(self, broker: Destination, queue: str, job_id: str) -> None:
        self._broker = broker
        self._queue = queue
        self._job_id = job_id
        self._count = 0
        self._orders: SimpleQueue[tuple[int, int]] = SimpleQueue()
        self._stored = threading.Event()
        self._grace_s: float | None = None
        self.silence: InterruptNotConfirmed | None = None
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        for number in _SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:
                self._before[number] = signal.signal(number, self._pressed)
        threading.Thread(target=self._serve, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def job_is_stored(self) -> None:
        """From now on an interrupt finds the job."""
        self._stored.set()

    def _pressed(self, number: int, _: FrameType | None) -> None:
        self._count += 1
        if self._count > 2 or self.silence is not None:
            raise KeyboardInterrupt
        # The one queue of the standard library that a signal's handler may put into.
        self._orders.put((self._count, number))

    def _serve(self) -> None:
        while True:
            press, number = self._orders.get()
            self._stored.wait()
            kill = press > 1
            if kill:
                say(f"killing job {self._job_id}; once more stops waiting for it")
            else:
                say(f"interrupting job {self._job_id}; once more kills it")
            self._grace_s = 0.0 if kill else None
            try:
                self._interrupt(f"{_NAMES[signal.Signals(number)]} in oneshot-queue run")
            except OneshotQueueError as problem:
                say(f"the interrupt could not be sent: {problem}")
            else:
                threading.Thread(target=self._watch, args=(number,), daemon=True).start()

    def _interrupt(self, reason: str) -> None:
        with self._client() as queue:
            queue.interrupt([self._job_id], grace=self._grace_s, reason=reason, confirm=False)

    def _watch(self, number: int) -> None:
        """Wait for the end, or until the job's worker is not alive: then nobody has to wait any longer."""
        with suppress(OneshotQueueError), self._client() as queue:
            while True:
                (report,) = queue.interrupt([self._job_id], grace=self._grace_s, timeout=_LOOK_AGAIN_S)
                if str(report.result) != "not_confirmed":
                    return
                if report.worker is None:
                    break
            self.silence = InterruptNotConfirmed(self._job_id, str(report.state), None, None)
            # A signal is what ends the waiting of the main thread.
            signal.pthread_kill(threading.main_thread().ident or 0, number)

    def _client(self) -> SyncQueue:
        from oneshot_queue.client.sync_queue import SyncQueue

        return SyncQueue(queue=self._queue, settings=self._broker.settings)
