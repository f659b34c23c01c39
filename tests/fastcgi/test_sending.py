"""wsgate.fastcgi.sending: a long request goes out as the application takes it, or is given up."""

import pytest
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport

from tests.fastcgi.fakes import Network, answer
from wsgate.fastcgi import RequestTimeout, ResponseTimeout
from wsgate.fastcgi.sending import PIECE, Sending
from wsgate.timeouts import Timeouts

BODY = bytes(range(256)) * 4096


class OurTransport:
    """As `UNIXTransport`: takes all parts, and tells what is left of them."""

    def __init__(self):
        self.unsent_size = 0

    def write_parts(self, parts):
        self.unsent_size = sum(map(len, parts))


def sending(transport, seconds=4.0):
    clock, stalls = Clock(), []
    timeouts = Timeouts(clock)
    return clock, timeouts, Sending(timeouts, seconds, transport, lambda: stalls.append(1)), stalls


def pump(clock, seconds):
    for _ in range(round(seconds / 0.1)):
        clock.advance(0.1)


def test_it_stalls_when_nothing_is_taken_for_the_time_and_no_earlier():
    clock, timeouts, one, stalls = sending(OurTransport())
    one.start([BODY])
    pump(clock, 4.0)
    assert not stalls
    pump(clock, 2.0)
    assert stalls == [1]
    assert len(timeouts) == 0


def test_a_byte_now_and_then_is_progress():
    transport = OurTransport()
    clock, timeouts, one, stalls = sending(transport)
    one.start([BODY])
    for _ in range(10):
        pump(clock, 3.0)
        transport.unsent_size -= 1
    assert not stalls
    transport.unsent_size = 0
    pump(clock, 1.2)
    assert len(timeouts) == 0


def test_cancel_leaves_no_timeout():
    clock, timeouts, one, stalls = sending(OurTransport())
    one.start([BODY])
    one.cancel()
    one.cancel()
    assert len(timeouts) == 0
    pump(clock, 10)
    assert not stalls


def test_a_transport_of_twisted_s_gets_a_piece_when_it_has_room_and_then_no_more():
    transport = StringTransport()
    clock, _, one, stalls = sending(transport)
    one.start([BODY[:100], memoryview(BODY)[100:70_000], BODY[70_000:], b"end"])
    assert transport.producer is one
    assert not transport.streaming
    sizes = []
    while transport.producer:
        before = len(transport.value())
        one.resumeProducing()
        sizes.append(len(transport.value()) - before)
        pump(clock, 3.0)
    assert transport.value() == BODY + b"end"
    assert sizes[0] == 70_000 > PIECE
    assert one.left == 0
    assert not stalls


@pytest.mark.parametrize("keep", [False, True])
def test_a_pool_fails_a_request_that_is_not_taken_and_frees_its_place(keep):
    net = Network(max_in_flight=1, keep_connections=keep, write_timeout=4.0, queue_deadline=60)
    outcome, following = net.request(BODY), net.request(b"next")
    transport = net.endpoint.accept()
    transport.producer.resumeProducing()
    net.advance(4.0)
    assert outcome.pending
    net.advance(2.0)
    assert isinstance(outcome.error, RequestTimeout)
    assert str(outcome.error) == "nothing was taken for 4 s"
    assert transport.disconnected
    net.endpoint.accept()
    net.endpoint.receive(answer())
    assert following.result
    assert net.pool.errors == {"RequestTimeout": 1}
    # A kept connection's timer for the answer stays.
    assert len(net.pool.timeouts) == keep
    net.check_accounts()


def test_the_time_for_the_answer_goes_on_once_all_is_taken():
    net = Network(write_timeout=4.0, response_timeout=30.0)
    outcome = net.request(BODY)
    transport = net.endpoint.accept()
    while transport.producer:
        transport.producer.resumeProducing()
    assert BODY[:60_000] in transport.value()
    net.advance(29.0)
    assert outcome.pending
    net.advance(2.0)
    assert isinstance(outcome.error, ResponseTimeout)


def test_a_connection_answered_before_it_was_asked_all_is_not_used_again():
    net = Network(max_in_flight=1, keep_connections=True)
    outcome = net.request(BODY)
    transport = net.endpoint.accept()
    net.endpoint.receive(answer())
    assert outcome.result
    assert transport.disconnected
    assert len(net.pool.timeouts) == 0
    assert "0 idle" in repr(net.pool)


def test_a_connection_asked_all_of_a_long_request_is_used_again():
    net = Network(max_in_flight=1, keep_connections=True)
    for _ in range(3):
        outcome = net.request(BODY)
        transport = net.endpoint.transports[0] if net.endpoint.transports else net.endpoint.accept()
        while transport.producer:
            transport.producer.resumeProducing()
        net.endpoint.receive(answer())
        assert outcome.result
        assert "1 idle" in repr(net.pool)
    assert net.endpoint.connects == 1
