"""Every error this project raises on purpose.

::

    OneshotQueueError
    ├── InvalidJob (ValueError)            a job has an invalid field; nothing was stored
    ├── InvalidSetting (ValueError)        a setting or an argument is invalid
    ├── LoopAlreadyRunning (RuntimeError)  a blocking call in a thread that runs an event loop
    ├── MalformedData (ValueError)         stored bytes cannot be read
    ├── QueueClosed (RuntimeError)         the queue is not open, or was closed during the call
    ├── JobError
    │   ├── JobNotFound (LookupError)      no such job in the queues that were searched
    │   ├── AmbiguousJobId (LookupError)   a prefix matches several jobs
    │   ├── JobAlreadyFinal                the job to interrupt had already ended
    │   ├── WaitTimedOut (TimeoutError)    the job did not end in time
    │   └── InterruptNotConfirmed (TimeoutError)   recorded, but the end of the job was not confirmed in time
    └── BrokerError
        ├── BrokerNotConfigured            no broker URL is configured
        ├── InvalidBrokerUrl (ValueError)  the URL is not a valid broker URL
        ├── BrokerUnreachable (ConnectionError)   no answer, or the server cannot serve anyone now
        ├── BrokerRefused                  the server refused (login, permission, version, wrong type)
        └── QueueFull                      the queue, or the server's memory, is full

Each error has its facts as attributes and builds its own message: what failed, on what, why, and what to do.
"""

from __future__ import annotations

from collections.abc import Sequence


class OneshotQueueError(Exception):
    """The base of all errors that this project raises on purpose."""


class InvalidJob(OneshotQueueError, ValueError):
    """A field of a job is invalid. Nothing was stored.

    ``enqueue_many`` does not raise it, but returns it in the place of the job.
    """

    def __init__(self, field: str, problem: str) -> None:
        self.field = field
        self.problem = problem
        super().__init__(f"{field}: {problem}")


class InvalidSetting(OneshotQueueError, ValueError):
    """A setting or an argument is invalid."""

    def __init__(self, name: str, problem: str) -> None:
        self.name = name
        self.problem = problem
        super().__init__(f"{name}: {problem}")


class LoopAlreadyRunning(OneshotQueueError, RuntimeError):
    """A blocking call was made in a thread that runs an event loop, which it would have blocked."""

    def __init__(self, call: str, instead: str) -> None:
        self.call = call
        self.instead = instead
        super().__init__(f"{call} would block the event loop that runs in this thread; {instead}")


class MalformedData(OneshotQueueError, ValueError):
    """Bytes from Redis cannot be read. Readers set them aside and guess nothing."""

    def __init__(self, what: str, problem: str) -> None:
        self.what = what
        self.problem = problem
        super().__init__(f"{what}: {problem}")


class QueueClosed(OneshotQueueError, RuntimeError):
    """A queue was used before it was opened, or after it was closed."""

    def __init__(self) -> None:
        super().__init__("the queue is not open; use it inside a `with` block")


class JobError(OneshotQueueError):
    """The base of errors about one job."""


class JobNotFound(JobError, LookupError):
    """No job in the searched queues has this id or prefix."""

    def __init__(self, job_id: str, queues: Sequence[str], *, least: int = 0) -> None:
        self.job_id = job_id
        self.queues = tuple(queues)
        plural = "s" if len(self.queues) > 1 else ""
        where = f"queue{plural} {', '.join(self.queues)}" if self.queues else "any queue"
        short = len(job_id) < least
        why = f"a prefix needs at least {least} characters" if short else "it never existed, or has expired"
        super().__init__(f"no job {job_id!r} in {where}; {why}")


class AmbiguousJobId(JobError, LookupError):
    """A prefix matches several jobs."""

    def __init__(self, prefix: str, candidates: Sequence[str]) -> None:
        self.prefix = prefix
        self.candidates = tuple(candidates)
        super().__init__(
            f"{prefix!r} matches {len(self.candidates)} jobs: {', '.join(self.candidates)}; give more characters"
        )


class JobAlreadyFinal(JobError):
    """The job to interrupt had already ended. Its state did not change."""

    def __init__(self, job_id: str, state: str) -> None:
        self.job_id = job_id
        self.state = state
        super().__init__(f"job {job_id} had already ended: {state}")


class WaitTimedOut(JobError, TimeoutError):
    """A job did not end within the caller's timeout. The job is not affected."""

    def __init__(self, job_id: str, state: str, timeout_s: float) -> None:
        self.job_id = job_id
        self.state = state
        self.timeout_s = timeout_s
        status = "waits to be started" if state == "CREATED" else "continues to run"
        super().__init__(f"job {job_id} is still {state} after {timeout_s:g} s; it {status}")


def holder_of_unconfirmed(worker: str | None) -> str:
    """Describe the worker that has to confirm an interrupt; ``worker`` is ``None`` if it is not alive."""
    return f"worker {worker} is alive and has not confirmed it yet" if worker else "its worker gives no sign of life"


class InterruptNotConfirmed(JobError, TimeoutError):
    """An interrupt was recorded, but the end of the job was not confirmed in time."""

    def __init__(self, job_id: str, state: str, timeout_s: float | None, worker: str | None) -> None:
        self.job_id = job_id
        self.state = state
        self.timeout_s = timeout_s
        self.worker = worker
        holder = holder_of_unconfirmed(worker)
        after = "" if timeout_s is None else f" after {timeout_s:g} s"
        super().__init__(f"the interrupt of job {job_id} is recorded, but the job is still {state}{after}: {holder}")


class BrokerError(OneshotQueueError):
    """The base of errors about the Redis server.

    Attributes:
        is_passing: The problem is temporary; retrying later may succeed.
        needs_person: The problem remains until a person changes an address, a password, a permission or a version.
    """

    is_passing = False
    needs_person = False


class BrokerNotConfigured(BrokerError):
    """No broker URL is configured."""

    needs_person = True

    def __init__(self) -> None:
        super().__init__(
            "no broker is configured; pass a URL such as redis://host:6379/0, set ONESHOT_QUEUE_URL, or use "
            "Queue.local() for a local broker of this user"
        )


class InvalidBrokerUrl(BrokerError, ValueError):
    """The URL is not a valid broker URL. No connection was attempted."""

    needs_person = True

    def __init__(self, url: str) -> None:
        self.url = url
        super().__init__(
            f"{url!r} is not a valid broker URL; write redis://HOST:PORT, rediss://HOST:PORT (TLS), unix:///PATH, "
            "redis+sentinel://HOST:PORT,HOST:PORT/SERVICE or redis+cluster://HOST:PORT,HOST:PORT, "
            "and percent-encode special characters in the password"
        )


class BrokerUnreachable(BrokerError, ConnectionError):
    """The broker did not answer in time, or answered that it cannot serve anyone at the moment."""

    is_passing = True

    def __init__(self, url: str, problem: str, advice: str = "is it running, and is the URL right?") -> None:
        self.url = url
        self.problem = problem
        self.advice = advice
        super().__init__(f"cannot reach the broker at {url}: {problem}; {advice}")


class BrokerRefused(BrokerError):
    """The broker refused a command or a login."""

    def __init__(
        self, url: str, problem: str, advice: str, *, is_passing: bool = False, needs_person: bool = False
    ) -> None:
        self.url = url
        self.problem = problem
        self.advice = advice
        self.is_passing = is_passing
        self.needs_person = needs_person
        super().__init__(f"the broker at {url} refused: {problem}; {advice}")


class QueueFull(BrokerError):
    """The queue, or the memory of the server, is full. Nothing was stored."""

    is_passing = True

    def __init__(self, queue: str, problem: str) -> None:
        self.queue = queue
        self.problem = problem
        super().__init__(f"queue {queue} is full: {problem}; wait until workers catch up, or raise the limit")
