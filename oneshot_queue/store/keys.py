"""The name of every key, in one place.

All keys of a queue begin with the hash tag ``{<namespace>:<queue>}``, so each script is atomic in Redis Cluster too.
The table abbreviates it to ``T``:

======================================  ============  ==================================================================
``T:ready:high|normal|low``             stream        entries with a job id; group ``workers``; consumer = lease
``T:delayed``                           sorted set    job id -> due time (ms)
``T:expiring``                          sorted set    job id -> start deadline (ms); a job not started by then fails
``T:workers``                           sorted set    lease -> end of the lease (ms, Redis' clock); 0: condemned
``T:terms``                             hash          lease -> its length in ms
``T:sweeper``                           string, TTL   lease of the one worker that sweeps this queue
``T:epoch``                             string        run id of the server, as last seen by a claim
``T:settling``                          string, TTL   exists while claiming is paused after a server crash
``T:intents:<lease>``                   hash          job id -> ``<attempt> <grace ms or ->``: interrupts to carry out
``T:job:<id>``                          hash          small fields only: no value exceeds 64 bytes
``T:spec:<id>``                         string        packed spec, immutable; a short one is the field ``spec``
``T:stdin:<id>``                        string        stdin of the command, immutable
``T:text:<id>``                         string        history, one row per line; lines ``!error``, ``!reason``,
                                                      ``!dropped``; a short one is the field ``log``
``T:output:<id>:<attempt>``             stream        beginning of the output; little output is a packed string, or
                                                      the field ``written`` if short and of the last attempt
``T:output:<id>:<attempt>:stdout``      stream        end of stdout; ``:stderr`` likewise
``T:state:<STATE>``                     sorted set    job id -> time it entered the state (ms)
``T:kept``                              hash          finished job id -> bytes of output kept
``T:counters``                          hash          ``kept`` (their sum), ``malformed`` (quarantined data)
``T:quarantine``                        list          quarantined entries, shortened; the newest 1,000
``T:bell``                              list          doorbell that wakes idle workers, at most 64 rings
``T:control``                           channel       ``<id> <attempt>``: the lease has a new intent
``T:events:<id>``                       channel       the new state, ``output`` or ``interrupting``
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
        """The KEYS of a script that discovers its job keys while it runs; ``base.lua`` says why there are two."""
        return self.prefix, self.workers

    @property
    def lease_lengths(self) -> str:
        return f"{self.prefix}:terms"

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
    def kept(self) -> str:
        return f"{self.prefix}:kept"

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
    """The prefix of keys that belong to no queue."""
    return f"{{{namespace}}}"


def queues_key(namespace: str) -> str:
    """The key of the set of all queue names."""
    return f"{namespace_prefix(namespace)}:queues"


def presence_key(namespace: str, worker_id: str) -> str:
    """The key of a worker's presence."""
    return f"{namespace_prefix(namespace)}:worker:{worker_id}"
