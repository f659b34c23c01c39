"""A stream on a real connection: frames, long messages, pushes between, clients that close."""

import zlib

from tests.websocket.test_protocol import BINARY, CLOSE, TEXT, Gateway, close_frame, frame
from wsgate.channels import Message
from wsgate.fastcgi import Response
from wsgate.websocket.writing import AT_ONCE

HEAD = b"Content-Type: text/plain\nWsgate-Stream: lines\n\n"


class Flow:
    """The request of a stream, which remembers what was done to it."""

    def __init__(self, turn):
        self.turn = turn
        self.did = []

    def pause(self):
        self.did.append("pause")

    def resume(self):
        self.did.append("resume")

    def stop(self, error):
        self.did.append("stop")
        self.turn.errback(error)


class Streaming:
    """A connection with one message asked, whose answer is a stream."""

    def __init__(self, headers=b"", **options):
        self.gateway = Gateway(**options)
        self.gateway.open(headers)
        self.gateway.receive(frame(TEXT, b"go"))
        self.turn = self.gateway.pool.turns.pop()
        self.flow = Flow(self.turn)
        self.sink = self.turn.streaming(bytearray(HEAD))
        self.sink.deliver(self.flow)

    def says(self, content):
        self.sink.feed(content)
        self.sink.deliver(self.flow)

    def ends(self):
        self.turn.callback(Response(bytearray(HEAD), b"", 0))

    def sent(self):
        return self.gateway.sent_frames()

    @property
    def balance(self):
        tally = self.gateway.route.tally
        return tally.received, tally.answered, tally.refused, tally.gone


def test_each_line_is_a_frame_and_so_is_the_end():
    s = Streaming()
    s.says(b"one\ntwo\n")
    assert s.sent() == [(TEXT, b"one"), (TEXT, b"two")]
    s.ends()
    ((opcode, payload),) = s.sent()
    assert (opcode, payload[:15]) == (TEXT, b'{"stream":"end"')
    assert s.flow.did == []


def test_a_long_line_is_in_fragments_and_holds_up_what_follows():
    s = Streaming(fragment_size=100_000)
    s.says(b"a\n" + b"x" * (AT_ONCE + 50_000) + b"\nb\n")
    assert s.flow.did == ["pause"]
    # One that was pushed meanwhile goes behind the long one, not into it.
    s.turn.push(Message(b"pushed", False))
    s.gateway.clock.advance(0)
    s.gateway.clock.advance(0)
    opcodes = [(opcode, len(payload)) for opcode, payload in s.sent()]
    assert opcodes == [
        (1, 1),
        (1, 100_000),
        (0, 100_000),
        (0, 100_000),
        (0, 12_144),
        (1, 6),
        (1, 1),
    ]
    assert s.flow.did == ["pause", "resume"]


def test_a_stream_goes_through_compression_message_by_message():
    s = Streaming(b"Sec-WebSocket-Extensions: permessage-deflate\r\n", compression=True)
    s.says(b"one\none\n")
    inflate = zlib.decompressobj(-15)
    assert [inflate.decompress(p + b"\x00\x00\xff\xff") for _, p in s.sent()] == [b"one", b"one"]


def test_a_client_that_closes_is_answered_at_once_and_the_stream_is_stopped():
    s = Streaming()
    s.says(b"one\n")
    s.sent()
    s.gateway.receive(frame(CLOSE, b"\x03\xe8"))
    assert s.flow.did == ["stop"]
    assert close_frame(s.gateway)[0] == 1000
    assert s.balance == (1, 0, 0, 1)


def test_a_client_that_closes_behind_another_message_gets_that_answer_first():
    s = Streaming()
    s.gateway.receive(frame(BINARY, b"second") + frame(CLOSE, b"\x03\xe8"))
    assert s.flow.did == ["stop"]
    assert s.sent() == []
    s.gateway.pool.answer(b"2")
    assert [opcode for opcode, _ in s.sent()] == [TEXT, CLOSE]
    assert s.balance == (2, 1, 0, 1)


def test_a_violation_stops_the_stream_too():
    s = Streaming()
    s.gateway.receive(b"\xf1\x80abcd")
    assert s.flow.did == ["stop"]
    assert close_frame(s.gateway)[0] == 1002


def test_a_close_that_is_held_behind_a_long_answer_also_waits_for_the_answer_after_it():
    gateway = Gateway()
    gateway.open()
    gateway.receive(frame(TEXT, b"1") + frame(TEXT, b"2"))
    gateway.pool.answer(b"x" * (AT_ONCE + 1))
    gateway.receive(frame(CLOSE, b"\x03\xe8"))
    gateway.clock.advance(0)
    gateway.clock.advance(0)
    assert [opcode for opcode, _ in gateway.sent_frames()][-1] != CLOSE
    gateway.pool.answer(b"second")
    assert gateway.sent_frames()[0] == (TEXT, b"second")


def test_a_slow_client_holds_the_request_up_and_is_dropped_if_it_takes_nothing():
    s = Streaming(send_timeout=5.0)
    s.gateway.transport.dataBuffer = b"x" * 100
    s.gateway.protocol.pauseProducing()
    assert s.flow.did == ["pause"]
    s.says(b"one\n")
    assert s.sent() == []
    s.gateway.clock.advance(5.2)
    assert s.gateway.transport.aborted
    s.gateway.lose()
    assert s.flow.did == ["pause", "stop"]
    assert s.balance == (1, 0, 0, 1)


def test_a_client_that_takes_again_gets_what_waited():
    s = Streaming()
    s.gateway.protocol.pauseProducing()
    s.says(b"one\n")
    s.gateway.protocol.resumeProducing()
    assert s.sent() == [(TEXT, b"one")]
    assert s.flow.did == ["pause", "resume"]


def test_a_drain_waits_for_the_end_of_a_stream():
    s = Streaming()
    s.gateway.factory.drain((1001, "bye"))
    s.says(b"one\n")
    assert s.sent() == [(TEXT, b"one")]
    s.ends()
    s.gateway.clock.advance(1)
    assert [opcode for opcode, _ in s.sent()] == [TEXT, CLOSE]
