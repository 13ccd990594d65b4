"""The options of a worker, as given on the command line, and how its processes share them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Self

from oneshot_queue.settings import Settings

MAX_NAME_CHARS = 64


@dataclass(frozen=True, slots=True)
class WorkerOptions:
    """The options of a worker, for all its processes together.

    Attributes:
        concurrency: Maximum number of concurrent jobs.
        name: Display name.
        is_burst: Exit once the queues are empty.
        drain_timeout_s: Seconds that running jobs may take after the first request to stop.
        is_quiet: Write no report line for the start and end of each job.
        only_job: Id of the only job to run.
        max_jobs: Exit after this many jobs; ``None`` for no limit.
        allows_eviction: Work even with a server that may evict keys when its memory is full.
        processes: Number of worker processes that share these options; 1 in the options of one process.
        log_format: ``text`` or ``json``.
        log_level: The lowest level of log records to write: ``debug``, ``info``, ``warning`` or ``error``.
    """

    url: str = field(repr=False)  # may hold a password, and a repr ends up in logs
    queues: tuple[str, ...] = ("default",)
    concurrency: int = 1
    name: str = "worker"
    is_burst: bool = False
    drain_timeout_s: float = 30.0
    is_quiet: bool = False
    only_job: str | None = None
    max_jobs: int | None = None
    allows_eviction: bool = False
    processes: int = 1
    log_format: str = "text"
    log_level: str = "warning"
    settings: Settings = field(default_factory=Settings)

    def shares(self) -> Iterator[tuple[int, Self]]:
        """Yield the number of each worker process, from 1, and its options; the first ones get the remainder.

        A process that would have no job to run is left out.
        """
        for index in range(self.processes):
            max_jobs = None if self.max_jobs is None else _share(self.max_jobs, self.processes, index)
            if max_jobs == 0:
                continue
            suffix = "" if self.processes == 1 else f".{index + 1}"
            yield (
                index + 1,
                replace(
                    self,
                    concurrency=_share(self.concurrency, self.processes, index),
                    name=self.name[: MAX_NAME_CHARS - len(suffix)] + suffix,
                    max_jobs=max_jobs,
                    processes=1,
                ),
            )

    def as_dict(self) -> dict[str, Any]:
        """Convert to values that JSON can hold, for ``from_dict``."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """Restore the options from the result of ``as_dict``, also after a round trip through JSON."""
        return cls(**{**values, "queues": tuple(values["queues"]), "settings": Settings(**values["settings"])})


def _share(total: int, parts: int, index: int) -> int:
    return total // parts + (index < total % parts)
