"""The doctor in a cluster: every queue is examined and repaired on its own node."""

from __future__ import annotations

import pytest

from oneshot_queue import Queue, Settings
from oneshot_queue.spec import Priority
from tests.store.transport.test_cluster import queues_on_all_nodes
from tests.support.clusters import ClusterDeployment, ask


@pytest.mark.thorough
async def test_queues_on_every_node_are_examined_and_repaired(namespace: str) -> None:
    with ClusterDeployment() as deployment:
        all_keys = queues_on_all_nodes(deployment, namespace)
        names = {keys.queue for keys in all_keys}
        for keys in all_keys:
            async with Queue(deployment.url, queue=keys.queue, settings=Settings(namespace=namespace)) as queue:
                await queue.enqueue(["true"])
        async with Queue(deployment.url, settings=Settings(namespace=namespace)) as queue:
            for keys, node in zip(all_keys, deployment.nodes, strict=True):
                assert ask(node, "UNLINK", keys.ready(Priority.NORMAL)) == 1

            found = await queue.doctor(repair=True)

            assert {each.queue for each in found if each.code == "job-without-entry" and each.is_repaired} == names
            assert {each.code for each in await queue.doctor() if each.queue and each.is_open} == {"unserved"}
