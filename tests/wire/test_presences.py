"""A presence is unpacked as it was packed, by newer and by older readers."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oneshot_queue.errors import MalformedData
from oneshot_queue.wire.presences import WorkerPresence, pack_presence, unpack_presence
from tests.wire.samples import A_PRESENCE, json_like, packed, patient


def test_presence_is_unpacked_as_it_was_packed() -> None:
    for presence in (A_PRESENCE, replace(A_PRESENCE, only_job=None, running=(), queues=())):
        assert unpack_presence(pack_presence(presence)) == presence


def test_presence_of_an_older_worker_may_lack_new_fields_and_that_of_a_newer_one_may_have_more() -> None:
    older = {each.name: getattr(A_PRESENCE, each.name) for each in fields(WorkerPresence)}
    for name in ("supervisor", "process", "processes", "layer"):
        del older[name]

    assert unpack_presence(packed(older)) == A_PRESENCE
    assert unpack_presence(packed({**older, "mood": ["good"]})) == A_PRESENCE
    del older["pid"]
    with pytest.raises(MalformedData):
        unpack_presence(packed(older))


@patient
@given(value=json_like, field=st.sampled_from([each.name for each in fields(WorkerPresence)]))
def test_any_value_in_any_field_of_a_presence_is_malformed_or_has_its_type(value: object, field: str) -> None:
    known = {each.name: getattr(A_PRESENCE, each.name) for each in fields(WorkerPresence)}
    try:
        presence = unpack_presence(packed({**known, field: value}))
    except MalformedData:
        return
    assert type(getattr(presence, field)) in (type(getattr(A_PRESENCE, field)), type(None))
