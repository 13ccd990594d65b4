"""The doctor finds damage to a queue, repairs what is safe to repair, and touches nothing else."""

from __future__ import annotations

import pytest

from oneshot_queue import Finding, Severity
from oneshot_queue.client.doctor import server
from oneshot_queue.client.doctor.findings import MAX_OF_A_KIND
from oneshot_queue.spec import Priority
from oneshot_queue.states import JobState
from oneshot_queue.store.attempts import Holder, Recorded
from oneshot_queue.store.enqueue import When
from oneshot_queue.store.keys import GROUP, presence_key
from oneshot_queue.store.leases import worker_of
from tests.client.doctor import damage_cases
from tests.client.doctor.damage_cases import NOT_REPAIRABLE, REPAIRABLE, Damage
from tests.store.recovery import make_due, members_of
from tests.support.builders import Held, Store, a_queue
from tests.support.cases import case
from tests.support.clients import OpenQueue
from tests.support.servers import ServerProcess

LEASE_DAMAGE = [
    damage_cases.lease_forgotten,
    damage_cases.lease_and_consumer_forgotten,
    damage_cases.lease_long_over,
]


@pytest.fixture(autouse=True)
def _long_running_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "MIN_UPTIME_S", 0.0)


async def doctor(store: Store, *, repair: bool = False) -> list[Finding]:
    """The findings about the queue, without those about the server and about the lack of workers."""
    async with a_queue(store.connection.url, store.keys) as queue:
        found = await queue.doctor(repair=repair, everywhere=False)
    return [each for each in found if each.queue is not None and each.code != "unserved"]


def codes(found: list[Finding]) -> set[str]:
    return {each.code for each in found if each.is_open}


async def let_all_end(store: Store) -> None:
    """Claim and finish every waiting job, including those that are not due yet."""
    for job_id in await members_of(store, "delayed"):
        await make_due(store, "delayed", job_id)
    waiting = set(await members_of(store, "state:CREATED"))
    lease = await store.lease()
    claims = await store.claim(lease, free=50)
    assert {claim.job_id for claim in claims} == waiting
    for claim in claims:
        held = Held(claim.job_id, Holder(claim.token, lease, "worker"))
        assert await store.finish(held) == Recorded(JobState.COMPLETED)


async def a_sound_queue(store: Store) -> None:
    lease = await store.lease()
    await store.running(lease=lease)
    await store.enqueue()
    await store.enqueue(when=When(delay_s=1000.0, expires_s=2000.0))
    await store.in_state(JobState.IDLE)
    for state in (JobState.COMPLETED, JobState.FAILED, JobState.INTERRUPTED):
        await store.finished(state, inline_output=b"12345", kept=5)


async def test_healthy_queue_has_no_findings(store: Store) -> None:
    await a_sound_queue(store)
    before = await store.dump()

    assert await doctor(store) == []
    assert await doctor(store, repair=True) == []

    assert await store.dump() == before


@case("D15", "R14", "V9")
@pytest.mark.parametrize("damage", REPAIRABLE)
async def test_damage_is_found_repaired_once_and_every_job_still_runs(store: Store, damage: Damage) -> None:
    expected = await damage(store)
    before = await store.dump()

    found = await doctor(store)
    assert codes(found) == expected
    assert all(each.is_repairable for each in found if each.is_open)
    assert await store.dump() == before

    repaired = await doctor(store, repair=True)
    assert codes(repaired) == set()
    # Settling a lease settles the jobs pending under it, so not every finding appears again.
    assert {each.code for each in repaired if each.is_repaired} <= expected | {"no-group"}
    assert [each for each in repaired if each.is_repaired]

    after = await store.dump()
    assert codes(await doctor(store)) == set()
    assert not [each for each in await doctor(store, repair=True) if each.is_repaired]
    assert await store.dump() == after
    await let_all_end(store)


async def test_many_kinds_of_damage_are_repaired_in_one_pass(store: Store) -> None:
    await a_sound_queue(store)
    # Without its group, every other pending entry is lost too; a stranger would read entries meant for the others.
    for damage in REPAIRABLE:
        if damage not in (damage_cases.group_deleted, damage_cases.handed_to_a_stranger):
            await damage(store)

    assert codes(await doctor(store, repair=True)) == set()

    assert codes(await doctor(store)) == set()
    assert not [each for each in await doctor(store, repair=True) if each.is_repaired]


@case("R14", "V9")
@pytest.mark.parametrize("damage", NOT_REPAIRABLE)
async def test_what_is_not_safe_to_repair_is_reported_and_never_overwritten(store: Store, damage: Damage) -> None:
    await store.redis.xgroup_create(store.keys.ready(Priority.NORMAL), GROUP, "0", mkstream=True)
    expected = await damage(store)
    before = await store.dump()

    assert codes(await doctor(store)) == expected
    found = await doctor(store, repair=True)

    assert codes(found) == expected
    assert not [each for each in found if each.is_repaired]
    assert await store.dump() == before
    assert all(each.advice and each.meaning for each in found)


async def test_neighbours_of_an_unreadable_job_are_repaired(store: Store) -> None:
    await damage_cases.record_of_another_type(store)
    await damage_cases.entry_deleted(store)

    assert codes(await doctor(store, repair=True)) == {"unreadable-job"}

    assert codes(await doctor(store)) == {"unreadable-job"}


@pytest.mark.parametrize("damage", LEASE_DAMAGE)
async def test_job_whose_worker_gives_a_sign_of_life_is_not_settled(store: Store, damage: Damage) -> None:
    expected = await damage(store)
    (job_id,) = [*await members_of(store, "state:RUNNING"), *await members_of(store, "state:IDLE")]
    lease = (await store.redis.hget(store.keys.job(job_id), "lease")).decode()
    await store.redis.set(presence_key(store.keys.namespace, worker_of(lease)), b"it lives", ex=60)
    before = await store.dump()

    found = await doctor(store, repair=True)

    assert codes(found) == expected
    assert not [each for each in found if each.is_repairable]
    assert await store.dump() == before


@pytest.mark.parametrize("damage", LEASE_DAMAGE)
async def test_no_job_is_settled_right_after_a_restart_of_the_server(
    store: Store, damage: Damage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "MIN_UPTIME_S", 1e9)
    expected = await damage(store)
    before = await store.dump()

    found = await doctor(store, repair=True)

    assert codes(found) == expected
    assert not [each for each in found if each.is_repairable]
    assert await store.dump() == before


async def test_full_memory_does_not_prevent_repairs(real_store: Store) -> None:
    held = await real_store.running()
    await damage_cases.entry_deleted(real_store)
    await damage_cases.sum_changed(real_store)
    await damage_cases.clock_forgotten(real_store)
    await real_store.redis.zadd(real_store.keys.workers, {held.holder.lease: 1})
    await real_store.redis.config_set("maxmemory", 1)
    assert codes(await doctor(real_store)) >= {"job-without-entry", "total-wrong", "lease-over"}

    assert codes(await doctor(real_store, repair=True)) == set()

    assert await real_store.state_of(held.id) == "FAILED"


async def test_what_a_restricted_user_cannot_examine_is_reported(real_server: ServerProcess, real_store: Store) -> None:
    await damage_cases.entry_deleted(real_store)
    await real_store.redis.acl_setuser(
        "ops", enabled=True, nopass=True, keys="*", channels="*", categories=["+@all"], commands=["-config", "-info"]
    )
    url = real_server.url.replace("unix://", "unix://ops:x@")
    async with a_queue(url, real_store.keys) as queue:
        found = await queue.doctor(everywhere=False)

    assert ("server-silent", "INFO") in {(each.code, each.subject) for each in found}
    assert "job-without-entry" in codes(found)


async def test_lease_that_has_just_expired_is_not_settled(store: Store) -> None:
    held = await store.running()
    seconds, _ = await store.redis.time()
    await store.redis.zadd(store.keys.workers, {held.holder.lease: seconds * 1000 - 5_000})

    (found,) = await doctor(store, repair=True)

    assert (found.code, found.is_repairable, found.is_repaired) == ("lease-over", False, False)
    assert await store.state_of(held.id) == "RUNNING"


async def test_settled_job_carries_the_reason_and_is_reported_as_info_from_then_on(store: Store) -> None:
    await damage_cases.lease_long_over(store)
    await doctor(store, repair=True)

    (found,) = await doctor(store)

    assert (found.code, found.severity, found.is_open) == ("unconfirmed", Severity.INFO, False)
    known = await store.record_of(found.subject)
    assert known.error == "its worker gave no sign of life; settled by doctor --repair"


async def test_many_of_a_kind_are_counted_instead_of_listed(store: Store) -> None:
    await store.enqueue_many(MAX_OF_A_KIND + 150)
    await store.redis.delete(store.keys.ready(Priority.NORMAL))

    found = await doctor(store)

    assert len(found) == MAX_OF_A_KIND + 1
    assert (found[-1].subject, found[-1].count) == ("150 more", 150)
    repaired = [each.count for each in await doctor(store, repair=True) if each.code == "job-without-entry"]
    assert sum(repaired) == MAX_OF_A_KIND + 150
    assert await store.length() == MAX_OF_A_KIND + 150


async def test_both_clients_examine_every_queue(open_queue: OpenQueue, store: Store) -> None:
    async with open_queue() as queue:
        await queue.enqueue(["true"])
        await damage_cases.entry_deleted(store)
        await store.redis.sadd(f"{{{store.keys.namespace}}}:queues", "a b", "empty")

        found = await queue.doctor()

    mine = {(each.queue, each.code) for each in found if each.queue or each.code == "queue-name"}
    assert (store.keys.queue, "no-group") in mine
    mine.remove((store.keys.queue, "no-group"))
    ours = {(store.keys.queue, "job-without-entry"), (store.keys.queue, "unserved")}
    assert mine == {(None, "queue-name"), ("empty", "empty-queue"), *ours}


async def test_jobs_that_wait_without_a_worker_are_reported(store: Store) -> None:
    await store.enqueue_many(2)
    async with a_queue(store.connection.url, store.keys) as queue:
        found = {each.code: each for each in await queue.doctor(everywhere=False)}
        await store.lease()
        served = {each.code for each in await queue.doctor(everywhere=False)}

    assert (found["unserved"].what, found["unserved"].is_open) == ("2 jobs are waiting", True)
    assert "unserved" not in served


async def test_registry_of_another_type_is_reported(store: Store) -> None:
    key = f"{{{store.keys.namespace}}}:queues"
    await store.redis.set(key, "x")
    async with a_queue(store.connection.url, store.keys) as queue:
        found = await queue.doctor(repair=True)

    assert ("queues", "wrong-type") in {(each.subject, each.code) for each in found}
    assert await store.redis.get(key) == b"x"
