"""wsgate.bus.redis: what waits for Redis, and what is done with what comes; Redis is the test's."""

import pytest
from twisted.internet.defer import Deferred, fail

from tests.deferreds import outcome
from wsgate.bus.interface import Change, Position
from wsgate.bus.limits import BusLimits
from wsgate.bus.redis import RedisBus
from wsgate.channels import BusAway, BusError, BusUnanswered
from wsgate.redis import Address, RedisAway, RedisRefused, RedisUnanswered


class Client:
    """A RedisClient that remembers what it is asked."""

    def __init__(self):
        self.is_up = False
        self.asked = []
        self.told = []
        self.ended = []

    def start(self):
        pass

    def tell(self, *words):
        self.told.append(words)

    def run(self, script, keys, *arguments):
        if not self.is_up:
            return fail(RedisAway("away"))
        self.asked.append((keys, arguments, Deferred()))
        return self.asked[-1][-1]

    def end(self, why):
        self.ended.append(why)


class Listener:
    def __init__(self):
        self.heard = []

    def __getattr__(self, name):
        return lambda *what: self.heard.append((name, *what))


@pytest.fixture
def bus(clock):
    limits = BusLimits(buffer=100, patience=3.0, lease=6.0)
    bus = RedisBus(clock, Address(path="/x"), "p", limits)
    bus._client = bus.client = Client()
    bus.listener = Listener()
    bus.start("aaaaaaaa", bus.listener)
    return bus


def come_up(bus):
    bus.client.is_up = True
    bus.up()


def test_what_is_published_before_redis_is_there_goes_out_when_it_is_in_order(bus):
    bus.publish("room", b"1")
    bus.publish("room", b"2")
    assert not bus.client.asked
    come_up(bus)
    # The lease comes first, and then who listens to what.
    assert [arguments[0] for _, arguments, _ in bus.client.asked] == ["p", b"1", b"2"]
    assert bus.listener.heard == [("bus_up",)]


def test_as_many_bytes_may_wait_as_the_limit_says_and_no_more(bus):
    assert outcome(bus.publish("room", b"x" * 60)) is None
    assert outcome(bus.publish("room", b"x" * 40)) is None
    assert bus.counts.waiting_bytes == 100
    assert isinstance(outcome(bus.publish("room", b"x")), BusAway)
    assert bus.counts.not_published == {"full": 1}


def test_one_alone_may_be_longer_than_the_limit(bus):
    assert outcome(bus.publish("room", b"x" * 1000)) is None


def test_what_redis_has_not_answered_waits_too(bus):
    come_up(bus)
    published = bus.publish("room", b"x" * 100)
    assert isinstance(outcome(bus.publish("room", b"x")), BusAway)
    bus.client.asked[-1][-1].callback(7)
    assert outcome(published) == 7
    assert bus.counts.waiting_bytes == 0


def test_a_publish_waits_for_so_long_and_no_longer(bus, clock):
    published = bus.publish("room", b"x")
    clock.advance(2.9)
    assert outcome(published) is None
    late = bus.publish("room", b"y")
    clock.advance(0.1)
    assert bus.counts.not_published == {"late": 1}
    come_up(bus)
    assert bus.client.asked[-1][1][0] == b"y"
    assert outcome(late) is None


@pytest.mark.parametrize(
    ("error", "becomes"),
    [
        (RedisAway("x"), BusAway),
        (RedisUnanswered("x"), BusUnanswered),
        (RedisRefused("OOM"), BusError),
    ],
)
def test_errors_of_redis_become_those_of_a_bus(bus, error, becomes):
    come_up(bus)
    published = bus.publish("room", b"x")
    bus.client.asked[-1][-1].errback(error)
    assert type(outcome(published)) is becomes
    assert (bus.counts.not_published, bus.counts.waiting_bytes) == ({"failed": 1}, 0)


def test_messages_are_told_with_their_place_and_others_dropped(bus):
    bus.pushed([b"message", b"p:channel:room", b"ab:7 \xffdata"])
    bus.pushed([b"message", b"p:user:\xc3\xa4", b"sent"])
    for nonsense in (b"", b"ab:7", b"AB:7 x", b":7 x", b"ab:-1 x"):
        bus.pushed([b"message", b"p:channel:room", nonsense])
    bus.pushed([b"subscribe", b"p:channel:room", 1])
    assert bus.listener.heard == [
        ("message_published", "room", Position("ab", 7), b"\xffdata"),
        ("message_sent", "user:ä", b"sent"),
    ]
    assert (bus.counts.received, bus.counts.malformed) == (7, 5)


def test_the_lease_is_renewed_and_what_others_left_is_told(bus, clock):
    come_up(bus)
    first = bus.client.asked.pop()
    assert first[1][:3] == ("p", "aaaaaaaa", 4000)
    first[-1].callback([0, [], 0])
    clock.advance(1)
    bus.client.asked.pop()[-1].callback([1, [[b"room", 1, [b"ann"]]], 0])
    assert bus.listener.heard == [
        ("bus_up",),
        ("node_swept", "room", Change(vacated=True, left=("ann",))),
    ]


def test_a_node_whose_lease_had_ended_tells_everything_again(bus, clock):
    come_up(bus)
    bus.client.asked.pop()[-1].callback([0, [], 0])
    clock.advance(1)
    bus.client.asked.pop()[-1].callback([0, [], 0])
    assert bus.listener.heard == [("bus_up",), ("bus_up",)]


def test_more_to_sweep_is_swept_at_once(bus):
    come_up(bus)
    bus.client.asked.pop()[-1].callback([1, [], 1])
    assert len(bus.client.asked) == 1


def test_a_primary_that_became_a_replica_is_left(bus):
    come_up(bus)
    bus.client.asked[-1][-1].errback(RedisRefused("READONLY You can't write"))
    assert bus.client.ended == ["READONLY You can't write"]
