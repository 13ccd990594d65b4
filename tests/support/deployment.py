"""A broker and a private queue for one test, with its clients and workers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import redis

from oneshot_queue import JobRecord, JobState, Queue, Settings, SyncJob, SyncQueue
from oneshot_queue.spec import Priority
from oneshot_queue.store.keys import GROUP, QueueKeys
from oneshot_queue.task_events import OutputStream
from oneshot_queue.workers.processes import cgroup
from tests.support.waiting import wait_until
from tests.support.witness import Witness
from tests.support.worker_process import PROGRAM, WorkerProcess


class Deployment:
    """All that a test of workers needs, under unique names; ``close`` ends everything.

    Attributes:
        settings: The settings of the clients; ``start_worker`` gives the same to each worker.
        queue: A blocking client.
        redis: A plain Redis client to read and damage keys, connected to the server of the last ``use_server``.
        witness: The file to which the commands report.
    """

    def __init__(
        self, url: str, namespace: str, queue_name: str, folder: Path, *, server_url: str = "", **settings: Any
    ) -> None:
        self.url = url
        self.queue_name = queue_name
        self.settings = Settings(url=url, namespace=namespace, **settings)
        self.keys = QueueKeys(namespace, queue_name)
        self.witness = Witness(folder / "witness")
        # Private: another test's supervisor must not clean up what this test leaves behind on purpose.
        self.state_folder = folder / "state"
        self._exits = ExitStack()
        self.queue = self._exits.enter_context(self.new_client())
        self.use_server(server_url or url)

    def use_server(self, server_url: str) -> None:
        """Connect ``redis`` to another server."""
        # redis-py types each reply as the union of two protocols and of sync and async clients.
        client: Any = redis.Redis.from_url(server_url, socket_timeout=10, retry=None, protocol=2)
        self.redis = self._exits.enter_context(client)

    def close(self) -> None:
        """End the workers, the latest first, and the clients; fail if a worker died unexpectedly."""
        self._exits.close()
        for folder in self.state_folder.glob("oneshot-queue/workers/*"):
            # Control groups of workers that were killed together with their supervisor; they are empty.
            group = cgroup.group_path(folder.name)
            if group is not None:
                cgroup.remove(str(group))

    def tune(self, **settings: Any) -> None:
        """Change the settings of workers and clients that are created from now on."""
        self.settings = replace(self.settings, **settings)

    def new_client(self) -> SyncQueue:
        """Another blocking client, for another thread."""
        return SyncQueue(queue=self.queue_name, settings=self.settings)

    def new_async_client(self) -> Queue:
        """An asyncio client."""
        return Queue(queue=self.queue_name, settings=self.settings)

    def start_worker(
        self,
        *,
        url: str | None = None,
        queues: Sequence[str] = (),
        concurrency: int = 4,
        arguments: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
        program: Sequence[str] = PROGRAM,
        until_ready: bool = True,
    ) -> WorkerProcess:
        """Start a worker for this queue; it ends with the deployment."""
        worker = WorkerProcess(
            url or self.url,
            queues or [self.queue_name],
            concurrency=concurrency,
            arguments=arguments,
            environment={**self.variables(), **(environment or {})},
            program=program,
        )
        worker.start(until_ready=False)
        self._exits.push(worker.__exit__)
        if until_ready:
            worker.wait_for("worker ")
        return worker

    def wait_for_subscriber(self) -> None:
        """Wait until a worker is subscribed to this queue's control channel."""
        wait_until(lambda: self.redis.pubsub_numsub(self.keys.control)[0][1], what="a worker to subscribe")

    def enqueue(self, script: str = ":", **options: Any) -> SyncJob:
        """Enqueue a shell script that reports its start and its end to the witness file."""
        return self.queue.enqueue(self.witness.command(script), **options)

    def variables(self) -> dict[str, str]:
        """The settings as environment variables, without the URL."""
        default = Settings(url=self.url)
        return {"XDG_STATE_HOME": str(self.state_folder)} | {
            f"ONESHOT_QUEUE_{name.upper()}": str(getattr(self.settings, name))
            for name in Settings.__slots__
            if name != "url" and getattr(self.settings, name) != getattr(default, name)
        }

    # ------------------------------------------------------------------------------------------- what the keys contain

    def key_names(self) -> set[str]:
        """Every key of this deployment's namespace."""
        prefixes = (f"{{{self.settings.namespace}:", f"{{{self.settings.namespace}}}")
        return {name for name in map(bytes.decode, self.redis.scan_iter(count=1000)) if name.startswith(prefixes)}

    def entries(self) -> int:
        """Number of jobs that wait or run: the length of the streams."""
        return sum(int(self.redis.xlen(self.keys.ready(each))) for each in Priority)

    def pending(self) -> dict[str, int]:
        """Number of jobs that each lease holds in the consumer groups."""
        held: dict[str, int] = {}
        for priority in Priority:
            stream = self.keys.ready(priority)
            if self.redis.exists(stream) and self.redis.xinfo_groups(stream):
                for row in self.redis.xpending(stream, GROUP)["consumers"] or ():
                    held[row["name"].decode()] = held.get(row["name"].decode(), 0) + int(row["pending"])
        return held

    def consumers(self) -> set[str]:
        """The consumers in the consumer groups."""
        found: set[str] = set()
        for priority in Priority:
            stream = self.keys.ready(priority)
            if self.redis.exists(stream) and self.redis.xinfo_groups(stream):
                found |= {row["name"].decode() for row in self.redis.xinfo_consumers(stream, GROUP)}
        return found

    def leases(self) -> set[str]:
        """The registered leases."""
        return {lease.decode() for lease in self.redis.zrange(self.keys.workers, 0, -1)}


def record_of(job: SyncJob) -> JobRecord:
    """The job's current record."""
    record = job.refresh().record
    assert record is not None
    return record


def until_state(job: SyncJob, *states: JobState) -> JobRecord:
    """Wait until a job is in one of these states; returns its record."""
    return wait_until(lambda: record_of(job), lambda seen: seen.state in states, what=f"job {job.id} to be {states}")


def history_of(job: SyncJob) -> list[str]:
    """The states in the job's history."""
    return [str(row.state) for row in record_of(job).history]


def output_of(job: SyncJob) -> tuple[bytes, bytes]:
    """The stored stdout and stderr of a job."""
    chunks = list(job.output())
    stdout = b"".join(each.data for each in chunks if each.stream is OutputStream.STDOUT)
    return stdout, b"".join(each.data for each in chunks if each.stream is OutputStream.STDERR)


def assert_left_no_trace(deployment: Deployment, worker: WorkerProcess) -> None:
    """Assert that the worker has ended, and that Redis holds nothing of it."""
    assert not worker.is_alive
    assert deployment.leases() == set()
    assert deployment.consumers() == set()
    assert deployment.pending() == {}
    assert deployment.queue.workers() == []
    assert not {name for name in deployment.key_names() if ":worker:" in name or ":intents:" in name}
