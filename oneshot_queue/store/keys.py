"""The name of every key, in one place.

All keys of a queue share the hash tag ``{<namespace>:<queue>}``, so that each script is atomic in Redis Cluster too.
Written ``T`` below:

======================================  ============  ==================================================================
``T:ready:high|normal|low``             stream        entries with a job id; group ``workers``; consumer = lease
``T:delayed``                           sorted set    job id -> when it is due (ms)
``T:expiring``                          sorted set    job id -> when it ends if nobody has started it (ms)
``T:workers``                           sorted set    lease -> end of the lease (ms, Redis' clock); 0: condemned
``T:terms``                             hash          lease -> its length in ms
``T:sweeper``                           string, TTL   lease of the one worker that sweeps
``T:epoch``                             string        run id of the server that the queue knows
``T:settling``                          string, TTL   while it is there, claims wait for what workers have to say
``T:intents:<lease>``                   hash          job id -> ``<attempt> <grace ms or ->``: interrupts to carry out
``T:job:<id>``                          hash          small fields only: no value is over 64 bytes
``T:spec:<id>``                         string        the packed spec, immutable; a short one is the field ``spec``
``T:stdin:<id>``                        string        what the command is to read, immutable
``T:text:<id>``                         string        history, a row a line; lines ``!error``, ``!reason``, ``!dropped``
                                                      a short one is the field ``log``
``T:output:<id>:<attempt>``             stream        beginning of the output; a packed string if there was little; the
                                                      field ``written`` if that is short, and it is the last attempt's
``T:output:<id>:<attempt>:stdout``      stream        end of stdout (``:stderr`` likewise)
``T:state:<STATE>``                     sorted set    job id -> time of entering
``T:kept``                              hash          finished job id -> bytes of output kept
``T:counters``                          hash          ``kept`` (their sum), ``malformed`` (entries set aside)
``T:quarantine``                        list          what was set aside, cut short, newest 1,000
``T:bell``                              list          doorbell for idle workers, at most 64
``T:control``                           channel       ``<id> <attempt>``: look at your intents
``T:events:<id>``                       channel       a new state, ``output`` or ``interrupting``: look again
``{<namespace>}:queues``                set           names of all queues
``{<namespace>}:worker:<worker id>``    string, TTL   a worker's presence
======================================  ============  ==================================================================
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from oneshot_queue.spec import Priority
from oneshot_queue.states import JobState

GROUP: Final = "workers"


@dataclass(frozen=True, slots=True)
class QueueKeys:
    """The keys of one queue."""

    namespace: str
    queue: str

    @property
    def prefix(self) -> str:
        return f"{{{self.namespace}:{self.queue}}}"

    @property
    def workers(self) -> str:
        return f"{self.prefix}:workers"

    @property
    def queue_keys(self) -> tuple[str, str]:
        """What a script names that learns only inside which keys it needs; more than the prefix, see ``base.lua``."""
        return self.prefix, self.workers

    @property
    def delayed(self) -> str:
        return f"{self.prefix}:delayed"

    @property
    def bell(self) -> str:
        return f"{self.prefix}:bell"

    @property
    def control(self) -> str:
        return f"{self.prefix}:control"

    @property
    def counters(self) -> str:
        return f"{self.prefix}:counters"

    @property
    def quarantine(self) -> str:
        return f"{self.prefix}:quarantine"

    def ready(self, priority: Priority) -> str:
        return f"{self.prefix}:ready:{priority}"

    def state(self, state: JobState) -> str:
        return f"{self.prefix}:state:{state}"

    def intents(self, lease: str) -> str:
        return f"{self.prefix}:intents:{lease}"

    def job(self, job_id: str) -> str:
        return f"{self.prefix}:job:{job_id}"

    def spec(self, job_id: str) -> str:
        return f"{self.prefix}:spec:{job_id}"

    def stdin(self, job_id: str) -> str:
        return f"{self.prefix}:stdin:{job_id}"

    def text(self, job_id: str) -> str:
        return f"{self.prefix}:text:{job_id}"

    def events(self, job_id: str) -> str:
        return f"{self.prefix}:events:{job_id}"

    def output_head(self, job_id: str, attempt: int) -> str:
        return f"{self.prefix}:output:{job_id}:{attempt}"

    def output_tail(self, job_id: str, attempt: int, stream: str) -> str:
        return f"{self.prefix}:output:{job_id}:{attempt}:{stream}"


def namespace_prefix(namespace: str) -> str:
    """What the keys begin with that belong to no queue."""
    return f"{{{namespace}}}"


def queues_key(namespace: str) -> str:
    """The set of all queues' names."""
    return f"{namespace_prefix(namespace)}:queues"


def presence_key(namespace: str, worker_id: str) -> str:
    """A worker's sign of life."""
    return f"{namespace_prefix(namespace)}:worker:{worker_id}"
