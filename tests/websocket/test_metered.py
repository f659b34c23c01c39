"""messages_per_second: a client over the rate is read later; nothing it sent is lost."""

import pytest

from tests.websocket.test_protocol import BINARY, CLOSE, TEXT, Gateway, frame
from wsgate.gateway import QueueLimits
from wsgate.websocket.metered import MeteredConversation, Meters


class Chatty(Gateway):
    """A gateway whose PHP answers at once."""

    def __init__(self, **options):
        super().__init__(**options)
        self.open()

    def receive(self, data):
        super().receive(data)
        self.answer()

    def pass_time(self, seconds):
        for _ in range(round(seconds * 10)):
            self.clock.advance(0.1)
            self.settle()
            self.answer()

    def answer(self):
        while self.pool.turns:
            self.pool.answer(b"")
            self.settle()

    @property
    def asked(self):
        return len(self.pool.requests)

    @property
    def hits(self):
        return self.factory.counts.limits["messages_per_second"]


@pytest.mark.parametrize("lane", [frame(TEXT, b"m"), frame(TEXT, b"", False) + frame(0, b"m")])
def test_twice_the_rate_is_taken_at_once_and_one_more_waits(lane):
    gateway = Chatty(messages_per_second=5, queue=QueueLimits(1000, 10**6))
    gateway.receive(lane * 9)
    assert gateway.hits == 0
    assert gateway.transport.producerState == "producing"
    gateway.receive(lane)
    assert gateway.asked == 10
    assert gateway.hits == 1
    assert gateway.transport.producerState == "paused"
    gateway.receive(lane)
    assert gateway.asked == 10
    gateway.pass_time(0.4)
    assert gateway.asked == 11


def test_a_flood_comes_through_in_order_at_the_rate_and_none_is_lost():
    gateway = Chatty(messages_per_second=50)
    gateway.receive(b"".join(frame(BINARY, b"%d" % n) for n in range(400)))
    assert gateway.asked == 100
    for second in range(1, 6):
        gateway.pass_time(1)
        assert 100 + 50 * second - 10 <= gateway.asked <= 100 + 50 * second
    gateway.pass_time(2)
    assert [request.stdin for request in gateway.pool.requests] == [b"%d" % n for n in range(400)]
    assert gateway.transport.producerState == "producing"


def test_long_messages_count_too():
    gateway = Chatty(messages_per_second=1)
    gateway.receive(frame(BINARY, b"x" * 70_000) * 3)
    assert gateway.asked == 2
    gateway.pass_time(1.2)
    assert gateway.asked == 3


def test_a_full_queue_and_the_rate_each_keep_reading_paused():
    gateway = Gateway(messages_per_second=2, queue=QueueLimits(1, 10**6))
    gateway.open()
    gateway.receive(frame(TEXT, b"x") * 4)
    assert gateway.transport.producerState == "paused"
    gateway.pool.answer(b"")
    assert gateway.transport.producerState == "paused" or gateway.route.tally.received > 2
    for _ in range(30):
        gateway.clock.advance(0.1)
    assert gateway.transport.producerState == "paused"
    while gateway.pool.turns:
        gateway.pool.answer(b"")
        for _ in range(30):
            gateway.clock.advance(0.1)
            gateway.settle()
    assert len(gateway.pool.requests) == 4
    assert gateway.transport.producerState == "producing"


def test_a_close_behind_the_flood_comes_last():
    gateway = Chatty(messages_per_second=1)
    gateway.receive(frame(TEXT, b"x") * 3 + frame(CLOSE, b"\x03\xe8"))
    assert not gateway.transport.disconnecting
    gateway.pass_time(3)
    assert gateway.asked == 3
    assert gateway.transport.disconnecting


def test_a_client_lost_while_it_waits_leaves_nothing_behind():
    gateway = Chatty(messages_per_second=1)
    gateway.receive(frame(TEXT, b"x") * 9)
    gateway.lose()
    assert len(gateway.factory.timeouts) == 0


def test_without_a_limit_nothing_stands_before_the_conversation():
    gateway = Chatty()
    assert not isinstance(gateway.protocol._conversation, MeteredConversation)
    gateway.receive(frame(TEXT, b"x") * 1000)
    assert gateway.asked == 1000
    assert gateway.hits == 0


@pytest.mark.parametrize(
    ("all_of_them", "pusher", "plain_limit", "pusher_limit"),
    [
        (0, 0, None, None),
        (5, 0, "messages_per_second", "messages_per_second"),
        (0, 5, None, "pusher_messages_per_second"),
        (5, 5, "messages_per_second", "messages_per_second"),
        (6, 5, "messages_per_second", "pusher_messages_per_second"),
    ],
)
def test_clients_that_speak_pusher_keep_to_the_stricter_limit(
    all_of_them, pusher, plain_limit, pusher_limit
):
    meters = Meters(all_of_them, pusher)
    assert [one and one.limit for one in map(meters.of, ("plain", "grip", "pusher"))] == [
        *(plain_limit, plain_limit),
        pusher_limit,
    ]


def test_a_client_that_speaks_pusher_is_slowed_down_by_default_and_loses_nothing():
    gateway = Gateway(queue=QueueLimits(1000, 10**6))
    gateway.route.dialect = "pusher"
    gateway.open()
    gateway.receive(frame(TEXT, b"m") * 99)
    limits = gateway.factory.counts.limits
    assert (limits["pusher_messages_per_second"], gateway.transport.producerState) == (
        *(0, "producing"),
    )
    gateway.receive(frame(TEXT, b"m") * 2)
    assert (limits["pusher_messages_per_second"], gateway.transport.producerState) == (1, "paused")
    assert limits["messages_per_second"] == 0
