"""What workers are asked to be, as the command line says it; and the share of it that one worker process gets."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Self

from oneshot_queue.settings import Settings

MAX_NAME_CHARS = 64


@dataclass(frozen=True, slots=True)
class WorkerOptions:
    """What workers are asked to be.

    Attributes:
        concurrency: Most jobs at once.
        name: What people call it.
        is_burst: End when the queues are empty.
        drain_timeout_s: Seconds that running jobs get after the first request to stop.
        only_job: The one job to run, and no other.
        max_jobs: End after so many jobs; ``None`` is never.
        allows_eviction: Work with a server that may throw keys away when its memory is full.
        processes: Worker processes that share all this; a worker process itself has 1.
    """

    url: str = field(repr=False)  # it may hold a password, and a repr ends up in logs
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
    settings: Settings = field(default_factory=Settings)

    def shares(self) -> Iterator[tuple[int, Self]]:
        """The number of each worker process, from 1, and what is asked of it. The first ones get what is left over.

        A process without any job to run is left out.
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

    def form(self) -> dict[str, Any]:
        """All of it as plain values, for ``from_form``."""
        return asdict(self)

    @classmethod
    def from_form(cls, form: dict[str, Any]) -> Self:
        """Read what ``form`` gave, after it has been through JSON."""
        return cls(**{**form, "queues": tuple(form["queues"]), "settings": Settings(**form["settings"])})


def _share(total: int, parts: int, index: int) -> int:
    return total // parts + (index < total % parts)
