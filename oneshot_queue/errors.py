"""Every error this project raises on purpose.

::

    OneshotQueueError
    ├── InvalidJob (ValueError)            a job that was refused; nothing of it reached Redis
    ├── InvalidSetting (ValueError)        a setting or an argument that makes no sense
    ├── LoopAlreadyRunning (RuntimeError)  a blocking call inside a running event loop
    ├── MalformedData (ValueError)         bytes that are not what they claim to be
    ├── QueueClosed (RuntimeError)         a call of a queue that is not open, or was closed meanwhile
    ├── JobError
    │   ├── JobNotFound (LookupError)      no such job in the queues that were searched
    │   ├── AmbiguousJobId (LookupError)   a prefix that fits several jobs
    │   ├── JobAlreadyFinal                an interrupt of a job that had ended
    │   ├── WaitTimedOut (TimeoutError)    the job had not ended in time
    │   └── InterruptNotConfirmed (TimeoutError)   recorded, but the job's processes were not seen to end in time
    └── BrokerError
        ├── BrokerNotConfigured            no URL was given
        ├── InvalidBrokerUrl (ValueError)  what was given is no URL of a broker
        ├── BrokerUnreachable (ConnectionError)   nobody answered, or nobody is served just now
        ├── BrokerRefused                  it answered, and said no (login, permission, version, wrong type)
        └── QueueFull                      the queue or the server's memory is at its limit

An error carries its facts as attributes and builds its own message: what was tried, on what, what was found, what to
do.
"""

from __future__ import annotations

from collections.abc import Sequence


class OneshotQueueError(Exception):
    """Anything this project raises on purpose."""


class InvalidJob(OneshotQueueError, ValueError):
    """A job was refused because one of its fields makes no sense.

    In the list that ``enqueue_many`` returns it stands, unraised, in the place of the job it refused.
    """

    def __init__(self, field: str, problem: str) -> None:
        self.field = field
        self.problem = problem
        super().__init__(f"{field}: {problem}")


class InvalidSetting(OneshotQueueError, ValueError):
    """A setting or an argument makes no sense."""

    def __init__(self, name: str, problem: str) -> None:
        self.name = name
        self.problem = problem
        super().__init__(f"{name}: {problem}")


class LoopAlreadyRunning(OneshotQueueError, RuntimeError):
    """A blocking call was made where an event loop runs, which it would have stopped."""

    def __init__(self, call: str, instead: str) -> None:
        self.call = call
        self.instead = instead
        super().__init__(f"{call} blocks, and an event loop is running in this thread; {instead}")


class MalformedData(OneshotQueueError, ValueError):
    """Bytes from Redis are not what they claim to be. They are set aside, never guessed at."""

    def __init__(self, what: str, problem: str) -> None:
        self.what = what
        self.problem = problem
        super().__init__(f"{what}: {problem}")


class QueueClosed(OneshotQueueError, RuntimeError):
    """A queue was used before it was opened, or after it was closed."""

    def __init__(self) -> None:
        super().__init__("the queue is not open; use it inside its `with` block")


class JobError(OneshotQueueError):
    """Something about one job."""


class JobNotFound(JobError, LookupError):
    """No job has this id, or this prefix, in the queues that were searched."""

    def __init__(self, job_id: str, queues: Sequence[str], *, least: int = 0) -> None:
        self.job_id = job_id
        self.queues = tuple(queues)
        plural = "s" if len(self.queues) > 1 else ""
        where = f"queue{plural} {', '.join(self.queues)}" if self.queues else "any queue"
        short = len(job_id) < least
        why = f"the beginning of an id needs {least} characters" if short else "it never was, or its record has expired"
        super().__init__(f"no job {job_id!r} in {where}; {why}")


class AmbiguousJobId(JobError, LookupError):
    """A prefix fits several jobs."""

    def __init__(self, prefix: str, candidates: Sequence[str]) -> None:
        self.prefix = prefix
        self.candidates = tuple(candidates)
        super().__init__(
            f"{prefix!r} fits {len(self.candidates)} jobs: {', '.join(self.candidates)}; give more of the id"
        )


class JobAlreadyFinal(JobError):
    """An interrupt came after the job's end; the job keeps the state it had."""

    def __init__(self, job_id: str, state: str) -> None:
        self.job_id = job_id
        self.state = state
        super().__init__(f"job {job_id} had already ended: {state}")


class WaitTimedOut(JobError, TimeoutError):
    """A job had not ended when the caller's patience did. The job goes on."""

    def __init__(self, job_id: str, state: str, timeout_s: float) -> None:
        self.job_id = job_id
        self.state = state
        self.timeout_s = timeout_s
        going = "waits" if state == "CREATED" else "goes on"
        super().__init__(f"job {job_id} is still {state} after {timeout_s:g} s; it {going}")


def holder_of_unconfirmed(worker: str | None) -> str:
    """Say who would have to confirm an interrupt; ``worker`` is ``None`` if it is not alive."""
    return f"worker {worker} is alive and has not confirmed it yet" if worker else "its worker gives no sign of life"


class InterruptNotConfirmed(JobError, TimeoutError):
    """An interrupt is on record, but the job was not seen to end in time."""

    def __init__(self, job_id: str, state: str, timeout_s: float | None, worker: str | None) -> None:
        self.job_id = job_id
        self.state = state
        self.timeout_s = timeout_s
        self.worker = worker
        holder = holder_of_unconfirmed(worker)
        after = "" if timeout_s is None else f" after {timeout_s:g} s"
        super().__init__(f"the interrupt of job {job_id} is on record, but the job is still {state}{after}: {holder}")


class BrokerError(OneshotQueueError):
    """Something about the Redis server itself.

    Attributes:
        is_passing: It goes by itself, or with time: worth trying again after a while.
        needs_person: It stays until a person changes something: an address, a password, a permission, a version.
    """

    is_passing = False
    needs_person = False


class BrokerNotConfigured(BrokerError):
    """No broker was named."""

    needs_person = True

    def __init__(self) -> None:
        super().__init__(
            "no broker: pass a URL such as redis://host:6379/0, set ONESHOT_QUEUE_URL, or use Queue.local() "
            "for this user's own local broker"
        )


class InvalidBrokerUrl(BrokerError, ValueError):
    """What was given is no URL of a Redis server; nobody was asked."""

    needs_person = True

    def __init__(self, url: str) -> None:
        self.url = url
        super().__init__(
            f"{url!r} is no broker's URL: write redis://HOST:PORT, rediss://HOST:PORT (TLS) or unix:///PATH, "
            "redis+sentinel://HOST:PORT,HOST:PORT/SERVICE or redis+cluster://HOST:PORT,HOST:PORT; "
            "special characters in a password are written %2F"
        )


class BrokerUnreachable(BrokerError, ConnectionError):
    """Nobody answered at the broker's address, or not in time, or what answered can serve nobody at the moment."""

    is_passing = True

    def __init__(self, url: str, problem: str, advice: str = "is it running, and is the URL right?") -> None:
        self.url = url
        self.problem = problem
        self.advice = advice
        super().__init__(f"cannot reach the broker at {url}: {problem}; {advice}")


class BrokerRefused(BrokerError):
    """The broker answered, and said no."""

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
    """The queue, or the memory of the server, is at its limit; nothing was stored."""

    is_passing = True

    def __init__(self, queue: str, problem: str) -> None:
        self.queue = queue
        self.problem = problem
        super().__init__(f"queue {queue} is full: {problem}; wait for workers to catch up, or raise the limit")
