"""Ctrl-C during ``run``: the first interrupts the job, the second kills it, the third stops waiting for it.

SIGTERM and SIGHUP count as Ctrl-C: ``run`` represents its job, so ending one ends the other. A signal that was already
ignored at the start (``nohup``) stays ignored.
"""

from __future__ import annotations

import signal
import threading
from contextlib import suppress
from queue import SimpleQueue
from types import FrameType
from typing import TYPE_CHECKING, Any, Final, Self

from oneshot_queue.cli.arguments.destination import Destination
from oneshot_queue.cli.output.terminal import print_message
from oneshot_queue.errors import InterruptNotConfirmed, OneshotQueueError

if TYPE_CHECKING:
    from oneshot_queue.client.sync_queue import SyncQueue

_CHECK_AGAIN_S: Final = 3.0
_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_NAMES: Final = {signal.SIGINT: "Ctrl-C", signal.SIGTERM: "SIGTERM", signal.SIGHUP: "SIGHUP"}


class CtrlC:
    """Turns signals into interrupts of one job, on a separate thread and connection.

    The main thread may be blocked by a slow reader of our output or by a slow broker. An interrupt waits for neither:
    it is sent as soon as the job is known to be stored.

    Attributes:
        unconfirmed: Set when waiting is pointless because the worker of the interrupted job is not responding. The main
            thread then gets a KeyboardInterrupt, as from a third Ctrl-C.
    """

    def __init__(self, destination: Destination, queue: str, job_id: str) -> None:
        self._destination = destination
        self._queue = queue
        self._job_id = job_id
        self._presses = 0
        self._requests: SimpleQueue[tuple[int, int]] = SimpleQueue()
        self._stored = threading.Event()
        self._grace_s: float | None = None
        self.unconfirmed: InterruptNotConfirmed | None = None
        self._previous_handlers: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        for number in _SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:
                self._previous_handlers[number] = signal.signal(number, self._on_signal)
        threading.Thread(target=self._send_interrupts, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous_handlers.items():
            signal.signal(number, handler)

    def job_is_stored(self) -> None:
        """Let interrupts be sent: from now on they find the job."""
        self._stored.set()

    def _on_signal(self, number: int, _: FrameType | None) -> None:
        self._presses += 1
        if self._presses > 2 or self.unconfirmed is not None:
            raise KeyboardInterrupt
        # SimpleQueue is the only queue of the standard library that is safe in a signal handler.
        self._requests.put((self._presses, number))

    def _send_interrupts(self) -> None:
        while True:
            press, number = self._requests.get()
            self._stored.wait()
            kill = press > 1
            if kill:
                print_message(f"killing job {self._job_id}; press Ctrl-C again to stop waiting")
            else:
                print_message(f"interrupting job {self._job_id}; press Ctrl-C again to kill it")
            self._grace_s = 0.0 if kill else None
            try:
                self._interrupt(f"{_NAMES[signal.Signals(number)]} in oneshot-queue run")
            except OneshotQueueError as problem:
                print_message(f"cannot interrupt job {self._job_id}: {problem}")
            else:
                threading.Thread(target=self._await_end, args=(number,), daemon=True).start()

    def _interrupt(self, reason: str) -> None:
        with self._client() as queue:
            queue.interrupt([self._job_id], grace=self._grace_s, reason=reason, confirm=False)

    def _await_end(self, number: int) -> None:
        """Wait until the job has ended, or until its worker is found not to be alive."""
        with suppress(OneshotQueueError), self._client() as queue:
            while True:
                (report,) = queue.interrupt([self._job_id], grace=self._grace_s, timeout=_CHECK_AGAIN_S)
                if str(report.result) != "not_confirmed":
                    return
                if report.worker is None:
                    break
            self.unconfirmed = InterruptNotConfirmed(self._job_id, str(report.state), None, None)
            # Only a signal interrupts the main thread while it waits.
            signal.pthread_kill(threading.main_thread().ident or 0, number)

    def _client(self) -> SyncQueue:
        from oneshot_queue.client.sync_queue import SyncQueue

        return SyncQueue(queue=self._queue, settings=self._destination.settings)
