"""wsgate.websocket.pings: a client's control frames are answered, up to a rate."""

import pytest

from tests.websocket.test_protocol import CLOSE, PING, PONG, TEXT, Gateway, close_frame, frame


@pytest.fixture
def gateway():
    opened = Gateway(control_frames_per_second=5, ping_interval=0)
    opened.open()
    return opened


def hits(gateway):
    return gateway.factory.counts.limits["control_frames_per_second"]


@pytest.mark.parametrize("opcode", [PING, PONG])
def test_twice_the_rate_is_taken_at_once_and_one_more_is_1008(gateway, opcode):
    gateway.receive(frame(opcode, b"p") * 10)
    assert [op for op, _ in gateway.sent_frames()] == ([PONG] * 10 if opcode == PING else [])
    assert hits(gateway) == 0
    gateway.receive(frame(opcode, b"p"))
    assert close_frame(gateway) == (1008, b"too many control frames")
    assert hits(gateway) == 1
    assert gateway.pool.requests == []


def test_the_rate_itself_is_taken_for_ever(gateway):
    for _ in range(200):
        gateway.receive(frame(PING, b"p"))
        assert gateway.sent_frames() == [(PONG, b"p")]
        gateway.clock.advance(0.2)
    assert hits(gateway) == 0


def test_messages_and_the_pongs_we_asked_for_do_not_count(gateway):
    for _ in range(20):
        gateway.receive(frame(TEXT, b"x"))
        gateway.pool.answer(b"y")
        gateway.sent()
        gateway.protocol._sendAutoPing()
        ((_, payload),) = gateway.sent_frames()
        gateway.receive(frame(PONG, payload))
    assert hits(gateway) == 0


def test_a_close_behind_many_pings_is_a_close(gateway):
    gateway.receive(frame(PING) * 10 + frame(CLOSE, b"\x03\xe8"))
    assert close_frame(gateway) == (1000, b"")


def test_without_a_limit_any_number_is_answered():
    gateway = Gateway(control_frames_per_second=0)
    gateway.open()
    gateway.receive(frame(PING, b"p") * 1000)
    assert len(gateway.sent_frames()) == 1000


def test_answers_that_are_due_come_before_the_1008(gateway):
    gateway.receive(frame(TEXT, b"x") + frame(PING) * 11)
    assert [op for op, _ in gateway.sent_frames()] == [PONG] * 10
    gateway.pool.answer(b"y")
    (first, second) = gateway.sent_frames()
    assert first == (TEXT, b"y")
    assert second[0] == CLOSE
    assert second[1][:2] == b"\x03\xf0"


def test_of_several_pings_only_the_newest_is_answered_when_the_client_takes_data_again(gateway):
    gateway.protocol.pauseProducing()
    gateway.receive(frame(PING, b"1") + frame(PING, b"2") + frame(PING, b"3"))
    assert gateway.sent() == b""
    gateway.protocol.resumeProducing()
    assert gateway.sent_frames() == [(PONG, b"3")]
    gateway.protocol.pauseProducing()
    gateway.protocol.resumeProducing()
    assert gateway.sent() == b""


def test_a_client_that_reads_nothing_and_pings_makes_no_output():
    gateway = Gateway(ping_interval=0)
    gateway.open()
    gateway.transport.dataBuffer = b"x"
    gateway.protocol.pauseProducing()
    for _ in range(2900):
        gateway.receive(frame(PING, b"p" * 125))
        gateway.clock.advance(0.01)
        if gateway.factory.counts.closes:
            break
    assert len(gateway.sent()) < 200
    gateway.clock.advance(31)
    assert gateway.transport.aborted
