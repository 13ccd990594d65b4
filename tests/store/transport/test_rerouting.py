"""Which calls are sent again and which are not, step by step, without a server."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest
import redis
from redis._parsers.base import BaseParser
from redis.crc import key_slot

from oneshot_queue.errors import BrokerRefused, BrokerUnreachable
from oneshot_queue.store.calls import Call, plain
from oneshot_queue.store.transport.addresses import Peer, parse_broker_url
from oneshot_queue.store.transport.cluster import SLOTS, Cluster
from oneshot_queue.store.transport.rerouting import BATCH, Rerouting
from oneshot_queue.store.transport.routes import Backoff, ConnectionFailed, Exchange, KeepOnly, Replied, Steps
from oneshot_queue.store.transport.sentinels import RECHECK_S, Sentinels

OLD, NEW = Peer("old", 1), Peer("new", 2)
Answering = Callable[[Peer, tuple[Any, ...]], Any]


def refused(text: str) -> Any:
    parse: Any = BaseParser.parse_error  # untyped
    return parse(text)


def lost() -> ConnectionFailed:
    return ConnectionFailed(redis.TimeoutError("no reply"), was_sent=True)


def absent() -> ConnectionFailed:
    return ConnectionFailed(redis.ConnectionError("refused"), was_sent=False)


class World:
    """Servers that answer as the test specifies, and a clock that advances with each wait."""

    def __init__(self, url: str, answer: Answering) -> None:
        self.now_s = 0.0
        self.asked: list[tuple[Peer | None, Any]] = []
        self.kept: list[frozenset[Peer]] = []
        self._answer = answer
        broker = parse_broker_url(url)
        directory = Sentinels(broker, lambda: self.now_s) if "sentinel" in url else Cluster(broker)
        self.route = Rerouting(url, directory, lambda: self.now_s, patience_s=4.0)

    def run(self, *calls: Call[Any]) -> list[Any]:
        answers: list[Any] = self.drive(self.route.carry_out(calls))
        return answers

    def drive(self, steps: Steps) -> Any:
        result: Any = None
        while True:
            try:
                step = steps.send(result)
            except StopIteration as end:
                return end.value
            result = self._take(step)

    def _take(self, step: Exchange | Backoff | KeepOnly) -> Any:
        match step:
            case Backoff(seconds):
                self.now_s += seconds
            case KeepOnly(peers):
                self.kept.append(peers)
            case Exchange(peer, calls):
                assert peer is not None
                made, replies = list(calls), []
                for call in made:
                    self.asked.append((peer, call.words[0]))
                    reply = self._answer(peer, call.words)
                    if isinstance(reply, ConnectionFailed):
                        return reply
                    replies.append(reply)
                return Replied(made, replies)
        return None

    def times_asked(self, word: str) -> int:
        return sum(verb == word for _, verb in self.asked)


def a_call(key: str = "{q}:x") -> Call[Any]:
    return plain("SET", key, read=lambda reply: reply)


def behind_sentinels(answer: Answering, named: Callable[[], Any]) -> World:
    def all_answers(peer: Peer, words: tuple[Any, ...]) -> Any:
        return named() if peer.is_sentinel else answer(peer, words)

    return World("redis+sentinel://a,b/jobs", all_answers)


def in_cluster(answer: Answering, owner: Callable[[], Peer] = lambda: OLD) -> World:
    def all_answers(peer: Peer, words: tuple[Any, ...]) -> Any:
        if words == ("CLUSTER", "SLOTS"):
            return [[0, 16_383, [owner().host.encode(), owner().port, b"id"]]]
        return answer(peer, words)

    return World("redis+cluster://seed", all_answers)


OLD_NAMED = [b"old", b"1"]
NEW_NAMED = [b"new", b"2"]


def test_call_whose_reply_was_lost_is_never_sent_again() -> None:
    for world in (behind_sentinels(lambda *_: lost(), lambda: OLD_NAMED), in_cluster(lambda *_: lost())):
        with pytest.raises(BrokerUnreachable):
            world.run(a_call())

        assert world.times_asked("SET") == 1


@pytest.mark.parametrize("message", ["READONLY You can't", "LOADING data", "MASTERDOWN link", "UNBLOCKED now"])
def test_call_that_an_old_primary_refused_is_sent_to_the_new_one(message: str) -> None:
    names = iter([OLD_NAMED, OLD_NAMED, NEW_NAMED])
    world = behind_sentinels(lambda peer, _: b"OK" if peer == NEW else refused(message), lambda: next(names))

    assert world.run(a_call()) == [b"OK"]
    assert [peer for peer, verb in world.asked if verb == "SET"] == [OLD, OLD, NEW]
    assert world.kept[-1] == {NEW}


def test_only_refused_calls_are_sent_again() -> None:
    refusals = iter([refused("READONLY x")])

    def answer(_: Peer, words: tuple[Any, ...]) -> Any:
        return next(refusals, b"OK") if words[1] == "{q}:2" else b"OK"

    world = behind_sentinels(answer, lambda: OLD_NAMED)

    assert world.run(*(a_call(f"{{q}}:{number}") for number in range(4))) == [b"OK"] * 4
    assert world.times_asked("SET") == 5


@pytest.mark.parametrize("message", ["TRYAGAIN x", "ASK 7 new:2", "MOVED 7 new:2"])
def test_call_that_is_always_refused_fails_in_time(message: str) -> None:
    world = in_cluster(lambda *_: refused(message))

    with pytest.raises(BrokerUnreachable, match="moving to another node") as refusal:
        world.run(a_call())

    assert refusal.value.is_passing
    assert 3.0 < world.now_s <= 4.0
    assert world.times_asked("SET") < 60


def test_failed_connection_is_retried_but_a_wrong_password_is_not() -> None:
    failures = iter([absent(), absent()])
    world = behind_sentinels(lambda *_: next(failures, b"OK"), lambda: OLD_NAMED)
    assert world.run(a_call()) == [b"OK"]

    wrong = ConnectionFailed(refused("WRONGPASS no"), was_sent=False)
    world = behind_sentinels(lambda *_: wrong, lambda: OLD_NAMED)
    (answer,) = world.run(a_call())
    assert isinstance(answer, BrokerRefused)
    assert world.times_asked("SET") == 1


def test_partitioned_primary_is_abandoned_at_the_next_recheck() -> None:
    names = iter([OLD_NAMED, NEW_NAMED])
    world = behind_sentinels(lambda *_: b"OK", lambda: next(names))
    world.run(a_call())
    world.run(a_call())
    world.now_s += RECHECK_S

    world.run(a_call())

    assert [peer for peer, verb in world.asked if verb == "SET"] == [OLD, OLD, NEW]
    assert world.kept[-1] == {NEW}


def test_service_unknown_to_one_sentinel_is_temporary_while_the_others_are_away() -> None:
    names = iter([None, absent()])
    world = behind_sentinels(lambda *_: b"OK", lambda: next(names))

    with pytest.raises(BrokerUnreachable) as refusal:
        world.run(a_call())

    assert refusal.value.is_passing


@pytest.mark.parametrize("named", [[b"old", b"x"], [b"old", b"0"], [b"old"], [b"old", b"99999"], b"old", 7, []])
def test_sentinel_with_an_invalid_reply_is_skipped(named: Any) -> None:
    names = iter([named, OLD_NAMED])
    world = behind_sentinels(lambda *_: b"OK", lambda: next(names))

    assert world.run(a_call()) == [b"OK"]


def test_moved_slot_is_followed_although_the_table_is_outdated() -> None:
    moved = refused(f"MOVED {key_slot(b'q')} new:2")
    world = in_cluster(lambda peer, _: b"OK" if peer == NEW else moved)

    assert world.run(a_call()) == [b"OK"]
    assert world.now_s == 0.0
    assert world.run(a_call()) == [b"OK"]
    assert [peer for peer, verb in world.asked if verb == "SET"] == [OLD, NEW, NEW]


def test_reading_the_table_is_safe_while_another_thread_learns_of_moved_slots() -> None:
    directory = Cluster(parse_broker_url("redis+cluster://seed"))
    refusals = [refused(f"MOVED {slot} new:2") for slot in range(SLOTS)]
    begin, is_over = threading.Barrier(2), threading.Event()

    def learn() -> None:
        begin.wait()
        while not is_over.is_set():
            for refusal in refusals:
                directory.redirect(refusal, OLD)

    interval_s = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    learner = threading.Thread(target=learn)
    learner.start()
    try:
        begin.wait()
        learnt = 0
        while learnt < 50:
            looking = directory.look_up()
            next(looking)
            step = looking.send(Replied([], [[[0, 16_383, [b"old", 1, b"id"]]]]))
            assert isinstance(step, KeepOnly)
            learnt += NEW in step.peers
    finally:
        is_over.set()
        learner.join()
        sys.setswitchinterval(interval_s)


def test_call_redirected_by_ask_is_preceded_by_asking_and_sent_once() -> None:
    def answer(peer: Peer, words: tuple[Any, ...]) -> Any:
        return b"OK" if peer == NEW else refused("ASK 7 new:2")

    world = in_cluster(answer)

    assert world.run(a_call(), a_call()) == [b"OK", b"OK"]
    assert world.asked[1:] == [(OLD, "SET")] * 2 + [(NEW, "ASKING"), (NEW, "SET")] * 2


@pytest.mark.parametrize(
    "rows", [b"x", [], [[0]], [["a", "b", []]], [[0, 10**9, [b"h", 1, b"i"]]], [[-5, 3, [b"h", 0, b"i"]]], [None]]
)
def test_invalid_slot_table_causes_only_a_refusal(rows: Any) -> None:
    world = World("redis+cluster://seed", lambda _, words: rows if words[0] == "CLUSTER" else b"OK")

    try:
        assert world.run(a_call()) == [b"OK"]
    except BrokerUnreachable:
        assert world.times_asked("SET") == 0


def test_endless_calls_are_held_in_batches() -> None:
    world = in_cluster(lambda *_: b"OK")
    most_made = 0

    def endless() -> Any:
        nonlocal most_made
        for number in range(BATCH * 3):
            most_made = max(most_made, number - world.times_asked("SET"))
            yield a_call()

    assert len(world.drive(world.route.carry_out(endless()))) == BATCH * 3
    assert most_made < BATCH
