"""wsgate.bus.buckets: tokens that nodes share; whatever they do, none have more than there are."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock

from wsgate.bus import buckets
from wsgate.bus.buckets import Bucket, Buckets
from wsgate.channels.tokens import LEASE, Ask, Taken
from wsgate.hooks.rate.leases import KEEP, Leases


def ask(need=1, ahead=0, back=0, rate=10.0, burst=5):
    return Ask("k", rate, burst, need, ahead, back)


def test_there_are_as_many_as_burst_says_and_no_more_until_time_goes_on():
    bucket = Bucket()
    assert [bucket.take("a", ask(), 100.0).granted for _ in range(5)] == [1] * 5
    refused = bucket.take("b", ask(), 100.0)
    assert (refused.granted, refused.ahead) == (0, 0)
    assert refused.wait == pytest.approx(0.1, abs=1e-5)
    assert bucket.take("b", ask(), 100.1).granted == 1
    assert bucket.take("b", ask(), 100.1).granted == 0


def test_as_many_as_are_there_are_granted_of_those_needed_and_none_ahead_then():
    assert Bucket().take("a", ask(need=7, ahead=2), 0.0) == Taken(5, 0, pytest.approx(0.1, 1e-4))


def test_what_one_node_has_ahead_another_cannot_have():
    bucket = Bucket()
    assert bucket.take("a", ask(ahead=3), 0.0) == Taken(1, 3, 0.0)
    assert bucket.take("b", ask(ahead=9), 0.0) == Taken(1, 0, 0.0)
    assert bucket.take("b", ask(), 0.0).granted == 0


def test_what_is_given_back_is_there_again_and_what_is_not_was_used():
    bucket = Bucket()
    bucket.take("a", ask(ahead=4), 0.0)
    bucket.take("a", ask(need=0, back=3), 0.0)
    assert bucket.take("b", ask(need=5), 0.0).granted == 3


def test_more_cannot_be_given_back_than_was_taken():
    bucket = Bucket()
    bucket.take("a", ask(need=3, ahead=1), 0.0)
    bucket.take("a", ask(need=0, back=4), 0.0)
    assert bucket.take("b", ask(need=5), 0.0).granted == 2


def test_a_lease_that_has_ended_counts_as_used_when_it_did():
    bucket = Bucket()
    bucket.take("a", ask(need=0, ahead=5), 0.0)
    assert bucket.take("b", ask(), LEASE - 0.01).granted == 0
    assert bucket.take("b", ask(), LEASE).granted == 0
    assert bucket.take("b", ask(need=2), LEASE + 0.1).granted == 1
    bucket.take("a", ask(need=0, back=5), LEASE + 0.1)
    assert bucket.take("b", ask(), LEASE + 0.1).granted == 0
    assert not bucket.is_full(LEASE + 0.5)
    assert bucket.is_full(LEASE + 0.71)


def test_a_clock_that_is_set_back_and_a_smaller_bucket_keep_nobody_out_for_long():
    bucket = Bucket()
    for _ in range(5):
        bucket.take("a", ask(), 1000.0)
    assert bucket.take("a", ask(), 500.0).wait <= 0.11
    assert bucket.take("a", ask(rate=100.0, burst=1), 500.0).wait <= 0.011


def test_a_full_bucket_needs_no_memory():
    clock = Clock()
    found = Buckets(clock.seconds)
    found.take("a", ask())
    assert len(found) == 1
    clock.advance(0.2)
    found.take("a", ask()._replace(key="other"))
    assert len(found) == 1


def test_of_too_many_the_oldest_goes(monkeypatch):
    monkeypatch.setattr(buckets, "MOST", 3)
    found = Buckets(lambda: 0.0)
    for key in ("1", "2", "3"):
        found.take("a", ask(burst=1)._replace(key=key))
    assert found.take("a", ask(burst=1)._replace(key="1")).granted == 0
    found.take("a", ask(burst=1)._replace(key="4"))
    assert len(found) == 3
    assert found.take("a", ask(burst=1)._replace(key="1")).granted == 0
    assert found.take("a", ask(burst=1)._replace(key="2")).granted == 1


# -- any interleaving

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("wait"), st.sampled_from([0.0, 0.01, 0.1, 0.37, 1.0, 1.9, 2.1, 30.0])),
        st.tuples(st.sampled_from(["take", "idle", "heard", "lost", "arrives"]), st.integers(0, 2)),
    ),
    max_size=200,
)


class World:
    """Three nodes and what they share; asks and answers take any time, and may be lost."""

    def __init__(self, rate, burst):
        self.now = 1000.0
        self.bucket = Bucket()
        self.nodes = [Leases("", rate, burst, 10) for _ in range(3)]
        self.sent = [[] for _ in range(3)]
        self.answers = [[] for _ in range(3)]
        self.used = []

    def take(self, number):
        node = self.nodes[number]
        wait = node.take("k", self.now)
        if wait == 0.0:
            self.used.append(self.now)
        elif wait is None and not (self.is_due(number) or self.answers[number]):
            self.sent[number].append(node.ask("k", 1, self.now))

    def is_due(self, number):
        return any(asked.need for asked in self.sent[number])

    def idle(self, number):
        self.sent[number] += self.nodes[number].idle(self.now)

    def arrives(self, number):
        if self.sent[number]:
            asked = self.sent[number].pop(0)
            taken = self.bucket.take(str(number), asked, self.now)
            self.used += [self.now] * taken.granted
            if asked.need:
                self.answers[number].append(taken)

    def heard(self, number):
        if self.answers[number]:
            self.nodes[number].answered("k", self.answers[number].pop(0), self.now)

    def lost(self, number):
        if self.sent[number]:
            lost = self.sent[number].pop(0)
        elif self.answers[number]:
            lost = self.answers[number].pop(0)
        else:
            return
        if isinstance(lost, Taken) or lost.need:
            self.nodes[number].failed("k")


@given(STEPS, st.sampled_from([0.5, 3.0, 10.0]), st.integers(1, 12))
def test_no_window_has_more_than_the_burst_and_what_the_time_fills(steps, rate, burst):
    world = World(rate, burst)
    for what, value in steps:
        if what == "wait":
            world.now += value
        else:
            getattr(world, what)(value)
    for (i, first), (j, last) in itertools.combinations_with_replacement(
        enumerate(sorted(world.used)), 2
    ):
        assert j - i + 1 <= burst + rate * (last - first) + 0.001


@pytest.mark.parametrize("nodes", [1, 2, 3])
def test_whoever_keeps_to_the_rate_is_never_refused_and_asks_seldom(nodes):
    world = World(10.0, 10)
    asked = 0
    for number in range(300):
        world.now += 0.1
        node = number % nodes
        before = len(world.used)
        world.take(node)
        asked += len(world.sent[node])
        world.arrives(node)
        world.heard(node)
        assert len(world.used) == before + 1
        for one in range(nodes):
            world.idle(one)
            world.arrives(one)
    assert asked <= 300 / 2


def test_what_a_node_did_not_use_another_has_before_the_lease_ends():
    world = World(0.001, 10)
    for _ in range(5):
        for step in (world.take, world.arrives, world.heard):
            step(0)
    assert (len(world.used), len(world.nodes[0])) == (5, 1)
    world.now += KEEP
    world.idle(0)
    world.arrives(0)
    for _ in range(6):
        for step in (world.take, world.arrives, world.heard):
            step(1)
    assert (len(world.used), len(world.nodes[0])) == (10, 0)
