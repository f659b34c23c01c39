"""wsgate.websocket.pushing: messages between the answers."""

import zlib

import pytest

from tests.websocket.test_frames import frames
from tests.websocket.test_protocol import BINARY, CLOSE, TEXT, Gateway, frame
from wsgate.channels import WAITING_OVERHEAD, ChannelError, ChannelLimits, Message
from wsgate.websocket import WebSocketOptions


@pytest.fixture
def gateway():
    return opened()


def opened(**options):
    gateway = Gateway(**options)
    gateway.open()
    gateway.conversation = gateway.protocol._conversation
    return gateway


def member(gateway):
    """The one connection there is, as channels know it."""
    (found,) = gateway.factory.channels._members.values()
    return found


def push(gateway, payload, is_binary=False):
    return member(gateway).push(Message(payload, is_binary))


def messages(data):
    """Whole messages: (opcode, payload); fails where a frame stands within another message."""
    whole = []
    for first, payload in frames(data):
        if first & 0x0F:
            assert not whole or whole[-1][2], "a message began within another"
            whole.append((first & 0x0F, payload, first & 0x80))
        else:
            opcode, before, fin = whole[-1]
            assert not fin
            whole[-1] = (opcode, before + payload, first & 0x80)
    return [(opcode, payload) for opcode, payload, _ in whole]


def test_an_open_connection_is_a_member_and_a_lost_one_is_not(gateway):
    found = member(gateway)
    assert gateway.factory.channels.find(found.connection_id) is found
    gateway.lose()
    assert gateway.factory.channels.find(found.connection_id) is None
    assert not found.push(Message(b"x"))


def test_one_with_a_limit_on_messages_is_a_member_too():
    gateway = opened(messages_per_second=5)
    found = member(gateway)
    gateway.lose()
    assert gateway.factory.channels.find(found.connection_id) is None


def test_a_pushed_message_is_sent_at_once(gateway):
    assert push(gateway, b"hello")
    assert push(gateway, b"\x00", True)
    assert push(gateway, b"")
    assert gateway.sent_frames() == [(TEXT, b"hello"), (BINARY, b"\x00"), (TEXT, b"")]


def test_it_is_encoded_once_for_all_receivers(gateway):
    message = Message(b"hello")
    push = member(gateway).push
    push(message)
    encoded = message.encoded
    push(message)
    assert message.encoded is encoded
    assert gateway.sent() == encoded[1][0] * 2


def test_a_receiver_with_another_size_of_fragments_gets_its_own(gateway):
    message = Message(b"x" * 300)
    message.encoded = (125, (b"other",))
    assert member(gateway).push(message)
    assert gateway.sent_frames() == [(TEXT, b"x" * 300)]


def test_with_compression_each_receiver_has_its_own():
    gateway = opened(compression=True)
    gateway.lose()
    gateway.connect()
    gateway.open(b"Sec-WebSocket-Extensions: permessage-deflate\r\n")
    message = Message(b"hello " * 100)
    assert member(gateway).push(message)
    ((first, payload),) = frames(gateway.sent())
    assert first == 0xC1
    inflate = zlib.decompressobj(-15)
    assert inflate.decompress(payload + b"\x00\x00\xff\xff") == b"hello " * 100
    assert message.encoded is None


def test_a_push_waits_behind_a_long_answer_and_an_answer_behind_a_long_push(gateway):
    long = b"a" * 700_000
    gateway.receive(frame(TEXT, b"ask"))
    gateway.pool.answer(long)
    assert push(gateway, b"one")
    assert push(gateway, b"p" * 600_000)
    gateway.receive(frame(TEXT, b"again"))
    assert push(gateway, b"two")
    gateway.clock.pump([0] * 20)
    gateway.pool.answer(b"answer")
    gateway.clock.pump([0] * 20)
    assert messages(gateway.sent()) == [
        (TEXT, long),
        (TEXT, b"one"),
        (TEXT, b"p" * 600_000),
        (TEXT, b"two"),
        (TEXT, b"answer"),
    ]


def test_an_answer_that_comes_while_a_long_push_goes_out_waits_behind_it(gateway):
    gateway.receive(frame(TEXT, b"ask"))
    assert push(gateway, b"p" * 600_000)
    gateway.pool.answer(b"answer")
    gateway.clock.pump([0] * 20)
    assert messages(gateway.sent()) == [(TEXT, b"p" * 600_000), (TEXT, b"answer")]
    gateway.receive(frame(TEXT, b"more"))
    assert len(gateway.pool.requests) == 2


def test_many_short_ones_that_wait_go_out_together(gateway):
    gateway.protocol.pauseProducing()
    for n in range(100):
        assert push(gateway, b"%d" % n)
    assert gateway.sent() == b""
    gateway.protocol.resumeProducing()
    assert [payload for _, payload in gateway.sent_frames()] == [b"%d" % n for n in range(100)]
    gateway.clock.advance(0)
    assert push(gateway, b"at once")
    assert gateway.sent_frames() == [(TEXT, b"at once")]


def test_php_is_not_asked_while_pushes_wait(gateway):
    gateway.protocol.pauseProducing()
    push(gateway, b"x")
    gateway.receive(frame(TEXT, b"ask"))
    assert gateway.pool.requests == []
    gateway.protocol.resumeProducing()
    gateway.clock.advance(0)
    assert [request.stdin for request in gateway.pool.requests] == [b"ask"]


def test_what_waits_may_be_as_much_as_the_buffer_and_one_byte_more_ends_it():
    gateway = opened(push_buffer=1000)
    gateway.protocol.pauseProducing()
    size = 500 - WAITING_OVERHEAD
    assert push(gateway, b"a" * size)
    assert push(gateway, b"b" * size)
    found = member(gateway)
    assert not push(gateway, b"")
    assert gateway.factory.counts.limits["push_buffer"] == 1
    assert gateway.sent_frames() == [(CLOSE, b"\x03\xf5too slow")]
    assert not found.push(Message(b"x"))
    gateway.clock.advance(5.2)
    assert gateway.transport.aborted
    assert gateway.factory.counts.drops["close timeout"] == 1


def test_one_message_may_be_longer_than_the_buffer():
    gateway = opened(push_buffer=1000)
    gateway.protocol.pauseProducing()
    assert push(gateway, b"a" * 5000)
    gateway.protocol.resumeProducing()
    gateway.clock.advance(0)
    assert messages(gateway.sent()) == [(TEXT, b"a" * 5000)]


def test_a_client_that_is_too_slow_asks_php_nothing_more():
    gateway = opened(push_buffer=1000)
    gateway.receive(frame(TEXT, b"in flight"))
    gateway.receive(frame(TEXT, b"waits"))
    gateway.protocol.pauseProducing()
    push(gateway, b"a" * 900)
    push(gateway, b"b" * 900)
    gateway.pool.answer(b"too late")
    gateway.protocol.resumeProducing()
    gateway.receive(frame(TEXT, b"more"))
    assert len(gateway.pool.requests) == 1
    assert gateway.sent_frames() == [(CLOSE, b"\x03\xf5too slow")]
    tally = gateway.factory.tally()
    assert (tally.received, tally.gone) == (3, 3)


def test_a_close_in_the_middle_of_a_long_push_cuts_it_off():
    gateway = opened(push_buffer=1000)
    push(gateway, b"p" * 600_000)
    push(gateway, b"a" * 900)
    assert not push(gateway, b"b" * 900)
    sent = gateway.sent_frames()
    assert sent[-1] == (CLOSE, b"\x03\xf5too slow")
    gateway.clock.pump([0] * 5)
    assert gateway.sent() == b""


def test_a_client_that_is_closing_is_not_pushed_to(gateway):
    found = member(gateway)
    gateway.receive(frame(TEXT, b"ask"))
    gateway.receive(frame(CLOSE, b"\x03\xe8"))
    assert not found.push(Message(b"x"))
    gateway.pool.answer(b"answer")
    assert not found.push(Message(b"x"))
    assert gateway.sent_frames() == [(TEXT, b"answer"), (CLOSE, b"\x03\xe8")]


def test_a_client_that_is_closed_by_us_is_not_pushed_to(gateway):
    found = member(gateway)
    found.close(4000, "bye")
    found.close(4001, "again")
    assert not found.push(Message(b"x"))
    assert gateway.sent_frames() == [(CLOSE, b"\x0f\xa0bye")]


def test_a_close_comes_behind_what_is_going_out(gateway):
    push(gateway, b"p" * 600_000)
    push(gateway, b"last")
    member(gateway).close(4000, "bye")
    assert not push(gateway, b"x")
    gateway.clock.pump([0] * 10)
    assert messages(gateway.sent()) == [
        (TEXT, b"p" * 600_000),
        (TEXT, b"last"),
        (CLOSE, b"\x0f\xa0bye"),
    ]


def test_an_idle_connection_is_one_without_pushes_too():
    gateway = opened(idle_timeout=4, ping_interval=0)
    for _ in range(6):
        push(gateway, b"x")
        gateway.clock.pump([0.5] * 3)
    assert all(opcode == TEXT for opcode, _ in gateway.sent_frames())
    gateway.clock.pump([0.5] * 12)
    assert gateway.sent_frames() == [(CLOSE, b"\x03\xe8no message for a long time")]


def test_a_connection_can_be_looked_at(gateway):
    info = member(gateway).info()
    assert info["path"] == "/chat"
    assert info["remote_addr"] == "192.0.2.7"
    assert info["channels"] == []
    assert info["queue"] == 0
    assert info["user"] is None


def test_other_limits_are_for_what_comes_after(gateway):
    options = WebSocketOptions(channels=ChannelLimits(channels_per_connection=1))
    gateway.factory.change_options(options)
    channels = gateway.factory.channels
    channels.subscribe(member(gateway), "a")
    with pytest.raises(ChannelError):
        channels.subscribe(member(gateway), "b")
    assert gateway.factory.counts.limits["channels_per_connection"] == 1
