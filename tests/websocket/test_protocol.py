"""wsgate.websocket.protocol: from bytes to a conversation and back, on a clock of the test's."""

import json
import struct
import zlib
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.error import ConnectionLost
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from tests.fakes import FakePool, Transport
from tests.websocket.test_frames import frames
from wsgate import cgi
from wsgate.fastcgi import ResponseCutOff
from wsgate.gateway import QueueLimits, Route
from wsgate.websocket import RESTARTING, GatewayFactory, Page, WebSocketOptions
from wsgate.websocket.intake import TURN

HANDSHAKE = (
    b"GET /chat HTTP/1.1\r\nHost: example.com\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n%s\r\n"
)
TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10


def frame(opcode: int, payload: bytes = b"", fin: bool = True, mask: bytes = b"abcd") -> bytes:
    masked = bytes(byte ^ mask[n % 4] for n, byte in enumerate(payload))
    size = len(payload)
    if size < 126:
        length = bytes([0x80 | size])
    elif size < 65536:
        length = b"\xfe" + struct.pack("!H", size)
    else:
        length = b"\xff" + struct.pack("!Q", size)
    return bytes([(0x80 if fin else 0) | opcode]) + length + mask + masked


class Gateway:
    """A factory with one connection to it."""

    def __init__(self, peer=None, pages=(), path="/", **options):
        self.clock = Clock()
        self.pool = FakePool()
        self.route = Route(
            path=path,
            script=cgi.Script("/w.php", "/w.php", "/"),
            pool=self.pool,
            subprotocols=("v1",),
        )
        self.factory = GatewayFactory(self.clock, [self.route], WebSocketOptions(**options), pages)
        self.connect(peer)

    def connect(self, peer=None):
        self.transport = Transport(peerAddress=peer or IPv4Address("TCP", "192.0.2.7", 5000))
        self.protocol = self.factory.buildProtocol(None)
        self.protocol.makeConnection(self.transport)

    def receive(self, data: bytes):
        self.protocol.dataReceived(data)
        self.settle()

    def settle(self):
        """Let the turns pass that reading takes."""
        protocol = getattr(self.protocol, "wrappedProtocol", self.protocol)
        while getattr(protocol, "_reading_paused", 0) & TURN:
            self.clock.advance(0)

    def sent(self) -> bytes:
        data = self.transport.value()
        self.transport.clear()
        return data

    def sent_frames(self):
        return [(first & 0x0F, payload) for first, payload in frames(self.sent())]

    def open(self, headers=b""):
        self.receive(HANDSHAKE % headers)
        answer = self.sent()
        assert answer.startswith(b"HTTP/1.1 101 "), answer
        return answer

    def lose(self):
        self.protocol.connectionLost(Failure(ConnectionLost()))


@pytest.fixture
def gateway():
    opened = Gateway()
    opened.open()
    return opened


# -- opening


def test_the_handshake_is_answered_as_the_rfc_shows():
    answer = Gateway().open()
    assert b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n" in answer
    assert b"Server:" not in answer


def test_a_spoken_subprotocol_is_accepted_and_told_to_php():
    gateway = Gateway()
    assert b"Sec-WebSocket-Protocol: v1\r\n" in gateway.open(b"Sec-WebSocket-Protocol: v0, v1\r\n")
    gateway.receive(frame(TEXT, b"x"))
    assert b"WSGATE_SUBPROTOCOLv1" in gateway.pool.requests[0].params


@settings(max_examples=50)
@given(st.lists(st.integers(1, 400), max_size=8))
def test_any_split_of_handshake_and_messages_gives_the_same_requests(cuts):
    gateway = Gateway()
    data = HANDSHAKE % b"" + frame(TEXT, b"one") + frame(BINARY, b"t", False) + frame(0, b"wo")
    edges = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    for start, end in pairwise(edges):
        gateway.receive(data[start:end])
    gateway.pool.answer()
    assert [request.stdin for request in gateway.pool.requests] == [b"one", b"two"]


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", b"426"),
        (b"POST / HTTP/1.1\r\nHost: a\r\n\r\n", b"405"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"505"),
        (b"GET / HTTP/1.1\r\nHost: a\nX: y\r\n\r\n", b"400"),
        (b"nonsense\r\n\r\n", b"400"),
        (b"x" * 20000, b"431"),
        (HANDSHAKE % (b"A: b\r\n" * 65), b"431"),
        (HANDSHAKE % b"Origin: http://evil.com\r\n", b"403"),
    ],
)
def test_what_is_no_handshake_gets_its_status_and_the_end(request_bytes, status):
    gateway = Gateway()
    gateway.receive(request_bytes)
    assert gateway.sent().startswith(b"HTTP/1.1 " + status)
    assert gateway.transport.disconnecting
    gateway.receive(HANDSHAKE % b"")
    assert gateway.sent() == b""


def test_another_path_is_404():
    gateway = Gateway(path="/elsewhere")
    gateway.receive(HANDSHAKE % b"")
    assert gateway.sent().startswith(b"HTTP/1.1 404")


def test_a_page_is_served_to_get_and_without_its_body_to_head():
    page = Page("/", (("Content-Type", "text/html"),), b"<p>hi")
    for method, body in ((b"GET", b"<p>hi"), (b"HEAD", b"")):
        gateway = Gateway(pages=[page])
        gateway.receive(method + b" /?x HTTP/1.1\r\nHost: a\r\n\r\n")
        assert gateway.sent() == (
            b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n"
            b"Content-Length: 5\r\nConnection: close\r\n\r\n" + body
        )


def test_a_client_that_never_finishes_its_request_gets_408_at_the_timeout():
    gateway = Gateway(handshake_timeout=10)
    gateway.receive(b"GET / HTTP/1.1\r\n")
    gateway.clock.advance(9.9)
    assert not gateway.transport.aborted
    gateway.clock.advance(0.3)
    assert gateway.sent().startswith(b"HTTP/1.1 408")
    assert gateway.transport.aborted


def test_an_open_connection_outlives_the_handshake_timeout(gateway):
    gateway.clock.advance(11)
    assert not gateway.transport.disconnecting


def test_the_last_connection_allowed_is_accepted_and_the_next_gets_503():
    gateway = Gateway(max_connections=2)
    gateway.open()
    gateway.connect()
    gateway.open()
    gateway.connect()
    gateway.receive(HANDSHAKE % b"")
    assert gateway.sent().startswith(b"HTTP/1.1 503")
    gateway.lose()
    assert gateway.factory.census.total == 2


def test_a_next_line_byte_in_a_header_forges_no_variable():
    gateway = Gateway()
    gateway.open(b"X-Note: hello\x85X-Forwarded-For: 6.6.6.6\r\n")
    gateway.receive(frame(TEXT, b"x"))
    params = gateway.pool.requests[0].params
    assert b"HTTP_X_NOTEhello\x85X-Forwarded-For: 6.6.6.6" in params
    assert b"HTTP_X_FORWARDED_FOR" not in params


FORGED = b"\x85X-Forwarded-For: 6.6.6.6\x85Sec-WebSocket-Protocol: evil\x85Set-Cookie: a=b"


@pytest.mark.parametrize("compression", [False, True])
@pytest.mark.parametrize(
    ("header", "status"),
    [
        (b"X-Note: hello" + FORGED, b"101"),
        (b"Cookie: a=" + FORGED, b"101"),
        (b"User-Agent: " + FORGED, b"101"),
        (b"X-Note: \xe2\x80\x85 and \xc3\x85", b"101"),
        (b"Sec-WebSocket-Protocol: v0, v1" + FORGED, b"101"),
        (b"Sec-WebSocket-Extensions: permessage-deflate" + FORGED, b"101"),
        (b"Connection: Upgrade" + FORGED, b"101"),
        (b"Upgrade: websocket" + FORGED, b"101"),
        (b"Origin: http://example.com" + FORGED, b"403"),
        (b"Host: example.com" + FORGED, b"400"),
        (b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==" + FORGED, b"400"),
        (b"X-Note" + FORGED + b": x", b"400"),
    ],
)
def test_a_next_line_byte_forges_nothing_for_php_autobahn_or_the_client(
    header, status, compression
):
    gateway = Gateway(compression=compression)
    gateway.receive(HANDSHAKE % (header + b"\r\n"))
    answer = gateway.sent()
    assert answer.startswith(b"HTTP/1.1 " + status)
    assert b"evil" not in answer
    assert b"Set-Cookie" not in answer
    assert b"permessage-deflate" not in answer
    if status != b"101":
        return
    if compression:
        assert set(gateway.protocol.http_headers) <= AUTOBAHN_SEES
        assert "evil" not in str(gateway.protocol.http_headers)
    gateway.receive(frame(TEXT, b"x"))
    assert b"HTTP_X_FORWARDED_FOR" not in gateway.pool.requests[0].params
    assert b"WSGATE_SUBPROTOCOL" not in gateway.pool.requests[0].params


AUTOBAHN_SEES = {
    *("host", "upgrade", "connection", "sec-websocket-version", "sec-websocket-key"),
    "sec-websocket-extensions",
}


@pytest.mark.parametrize(
    ("peer", "address"),
    [
        (IPv4Address("TCP", "192.0.2.7", 5000), b"REMOTE_ADDR192.0.2.7"),
        (IPv6Address("TCP", "::ffff:192.0.2.7", 5000), b"REMOTE_ADDR192.0.2.7"),
        (IPv6Address("TCP", "2001:db8::1", 5000), b"REMOTE_ADDR2001:db8::1"),
        (UNIXAddress(None), b"REMOTE_ADDRunix:"),
    ],
)
def test_remote_addr_is_the_clients(peer, address):
    gateway = Gateway(peer=peer)
    gateway.open()
    gateway.receive(frame(TEXT, b"x"))
    assert address in gateway.pool.requests[0].params


# -- messages


def test_answers_are_sent_as_text_or_binary(gateway):
    gateway.receive(frame(TEXT, b"a") + frame(BINARY, b"b"))
    gateway.pool.answer(b"1")
    gateway.pool.answer(b"2", header=b"Content-Type: image/png")
    assert gateway.sent_frames() == [(TEXT, b"1"), (BINARY, b"2")]


def test_a_long_answer_travels_in_fragments():
    gateway = Gateway(fragment_size=1000)
    gateway.open()
    gateway.receive(frame(TEXT, b"x"))
    gateway.pool.answer(b"y" * 2500)
    assert [(op, len(p)) for op, p in gateway.sent_frames()] == [(1, 1000), (0, 1000), (0, 500)]


def test_a_ping_is_answered_while_php_works(gateway):
    gateway.receive(frame(TEXT, b"x") + frame(PING, b"p"))
    assert gateway.sent_frames() == [(PONG, b"p")]


def test_a_burst_in_one_chunk_stops_at_the_queue_limit_and_loses_nothing():
    gateway = Gateway(queue=QueueLimits(4, 10**6))
    gateway.open()
    gateway.receive(b"".join(frame(TEXT, b"%d" % n) for n in range(100)))
    assert gateway.transport.producerState == "paused"
    assert gateway.route.tally.received == 5
    for n in range(100):
        assert gateway.pool.requests[-1].stdin == b"%d" % n
        gateway.pool.answer(b"%d" % n)
    assert gateway.transport.producerState == "producing"
    assert [payload for _, payload in gateway.sent_frames()] == [b"%d" % n for n in range(100)]


# -- ends


def close_frame(gateway) -> tuple[int, bytes]:
    (*_, (opcode, payload)) = gateway.sent_frames()
    assert opcode == CLOSE
    return int.from_bytes(payload[:2], "big"), payload[2:]


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (frame(TEXT, b"x" * 1001), 1009),
        (frame(TEXT, b"x" * 600, False) + frame(0, b"x" * 401), 1009),
        (frame(TEXT, b"\xff"), 1007),
        (frame(3), 1002),
        (b"\x81\x01x", 1002),
        (frame(0, b"x"), 1002),
        (frame(PING, b"x" * 126), 1002),
        (b"\xff" + b"\xff" * 13, 1002),
    ],
)
def test_a_violation_is_told_by_its_close_code_and_php_is_not_asked(data, code):
    gateway = Gateway(max_message_size=1000, max_frame_size=1000)
    gateway.open()
    gateway.receive(data)
    assert close_frame(gateway)[0] == code
    assert gateway.pool.requests == []
    assert not gateway.transport.aborted


VIOLATIONS = [
    frame(3, b"x" * 130),
    b"\xf1" + frame(TEXT, b"x" * 130)[1:],
    frame(PING, b"x" * 126),
    frame(0, b"x" * 5),
    b"\xff" * 14,
]


@pytest.mark.parametrize("violation", VIOLATIONS)
@pytest.mark.parametrize("before", [b"", frame(TEXT, b"1")])
def test_any_split_of_a_violation_ends_with_one_close_and_waits_for_the_clients(violation, before):
    for cut in range(len(violation) + 1):
        gateway = Gateway()
        gateway.open()
        gateway.receive(before + violation[:cut])
        gateway.receive(violation[cut:])
        if before:
            gateway.pool.answer(b"one")
        assert close_frame(gateway)[0] == 1002
        assert not gateway.transport.disconnecting
        if violation != VIOLATIONS[-1]:
            gateway.receive(frame(CLOSE, b"\x03\xea"))
            assert gateway.transport.disconnecting


def test_a_message_of_the_limit_passes():
    gateway = Gateway(max_message_size=1000, max_frame_size=1000)
    gateway.open()
    gateway.receive(frame(TEXT, b"x" * 1000))
    gateway.pool.answer()
    gateway.receive(frame(TEXT, b"x" * 600, False) + frame(0, b"x" * 400))
    assert [len(request.stdin) for request in gateway.pool.requests] == [1000, 1000]


def test_as_many_fragments_as_allowed_pass_and_one_more_is_1008():
    gateway = Gateway(max_fragments=3)
    gateway.open()
    gateway.receive(frame(TEXT, b"a", False) + frame(0, b"", False) + frame(0, b"c"))
    assert gateway.pool.requests[0].stdin == b"ac"
    gateway.pool.answer()
    gateway.receive(frame(TEXT, b"", False) + frame(0, b"", False) * 2 + frame(0, b""))
    assert close_frame(gateway)[0] == 1008
    assert len(gateway.pool.requests) == 1


def test_a_claimed_length_allocates_nothing():
    gateway = Gateway()
    gateway.open()
    gateway.receive(b"\x82\xff" + struct.pack("!Q", 2**62) + b"abcd" + b"x")
    assert close_frame(gateway)[0] == 1009


def test_the_clients_close_is_echoed_so_that_its_page_sees_the_code(gateway):
    gateway.receive(frame(CLOSE, struct.pack("!H", 4001) + b"bye"))
    assert close_frame(gateway) == (4001, b"bye")
    assert gateway.transport.disconnecting


def test_a_close_behind_messages_waits_for_their_answers(gateway):
    gateway.receive(frame(TEXT, b"1") + frame(TEXT, b"2") + frame(CLOSE, b"\x03\xe8"))
    assert gateway.sent_frames() == []
    gateway.pool.answer(b"one")
    gateway.pool.answer(b"two")
    assert gateway.sent_frames() == [(TEXT, b"one"), (TEXT, b"two"), (CLOSE, b"\x03\xe8")]
    assert gateway.transport.disconnecting


def test_a_violation_behind_a_message_waits_for_its_answer(gateway):
    gateway.receive(frame(TEXT, b"1") + frame(3, b"x") + frame(TEXT, b"never"))
    assert gateway.sent_frames() == []
    gateway.pool.answer(b"one")
    (first, second) = gateway.sent_frames()
    assert first == (TEXT, b"one")
    assert second[0] == CLOSE
    assert second[1][:2] == struct.pack("!H", 1002)
    assert len(gateway.pool.requests) == 1


def test_a_failed_answer_releases_what_was_held_too(gateway):
    gateway.receive(frame(TEXT, b"1") + frame(CLOSE, b"\x03\xe8"))
    gateway.pool.fail(ResponseCutOff("lost"))
    assert [opcode for opcode, _ in gateway.sent_frames()] == [TEXT, CLOSE]


def test_a_client_lost_with_its_close_held_is_gone(gateway):
    gateway.receive(frame(TEXT, b"1") + frame(CLOSE, b"\x03\xe8"))
    gateway.lose()
    assert gateway.route.tally.gone == 1
    assert gateway.factory.connections == set()


def test_wsgate_close_sends_its_code_and_drops_a_client_that_does_not_answer(gateway):
    gateway.receive(frame(TEXT, b"1"))
    gateway.pool.answer(b"x", header=b"Wsgate-Close: 4002 away with you")
    assert gateway.sent_frames() == [(TEXT, b"x"), (CLOSE, b"\x0f\xa2away with you")]
    gateway.clock.advance(4.9)
    assert not gateway.transport.aborted
    gateway.clock.advance(0.3)
    assert gateway.transport.aborted


def test_a_long_close_reason_is_cut_at_a_character(gateway):
    gateway.protocol.close(1011, "ä" * 100)
    code, reason = close_frame(gateway)
    assert code == 1011
    assert reason.decode() == "ä" * 61


def test_shut_down_says_1001_and_ends_opening_connections():
    gateway = Gateway()
    gateway.open()
    gateway.factory.close_all()
    assert close_frame(gateway) == (1001, b"the server is shutting down")
    opening = Gateway()
    opening.factory.close_all()
    assert opening.transport.disconnecting


def test_a_handshake_that_has_begun_is_accepted_while_draining_and_then_closed():
    gateway = Gateway()
    gone = gateway.factory.drain(RESTARTING, 5.0)
    answer = gateway.open()
    assert answer.endswith(b"\r\n\r\n\x88\x24\x03\xf4the server restarts, connect again")
    gateway.lose()
    assert gone.called


def test_a_handshake_that_does_not_go_on_is_ended_after_a_second_of_draining():
    gateway = Gateway()
    gateway.factory.drain()
    gateway.clock.advance(0.9)
    assert not gateway.transport.disconnecting
    gateway.clock.advance(0.2)
    assert gateway.transport.disconnecting


def test_a_message_that_is_given_up_is_an_error(gateway):
    gateway.receive(frame(TEXT, b"1"))
    gateway.factory.give_up()
    ((opcode, payload),) = gateway.sent_frames()
    assert (opcode, json.loads(payload)["error"]["status"]) == (TEXT, 504)
    tally = gateway.route.tally
    assert (tally.received, tally.refused) == (1, 1)


# -- time and slowness


def test_a_silent_client_is_pinged_and_dropped_without_a_pong(gateway):
    gateway.clock.advance(25.1)
    ((opcode, payload),) = gateway.sent_frames()
    assert opcode == PING
    gateway.receive(frame(PONG, payload))
    gateway.clock.advance(25.2)
    assert [opcode for opcode, _ in gateway.sent_frames()] == [PING]
    gateway.clock.advance(19.8)
    assert not gateway.transport.aborted
    gateway.clock.advance(0.5)
    assert gateway.transport.aborted


def test_a_client_we_do_not_read_is_not_dropped_for_its_missing_pong():
    gateway = Gateway(queue=QueueLimits(1, 10**6))
    gateway.open()
    gateway.receive(frame(TEXT, b"1") + frame(TEXT, b"2"))
    assert gateway.transport.producerState == "paused"
    gateway.clock.pump([25.1, 20.1, 20.1, 20.1])
    assert not gateway.transport.aborted
    gateway.pool.answer()
    gateway.clock.advance(20.2)
    assert gateway.transport.aborted


def test_a_client_that_takes_nothing_is_dropped_and_one_that_takes_some_is_not(gateway):
    gateway.transport.dataBuffer = b"x" * 1000
    gateway.protocol.pauseProducing()
    gateway.clock.advance(29.9)
    gateway.transport.offset = 10
    gateway.clock.advance(0.3)
    assert not gateway.transport.aborted
    gateway.clock.advance(30.3)
    assert gateway.transport.aborted


def test_a_client_that_takes_its_data_again_goes_on(gateway):
    gateway.protocol.pauseProducing()
    gateway.receive(frame(TEXT, b"1"))
    assert gateway.pool.requests == []
    gateway.protocol.resumeProducing()
    assert len(gateway.pool.requests) == 1
    gateway.clock.advance(40)
    gateway.receive(frame(PONG))
    assert not gateway.transport.aborted


def test_a_lost_connection_leaves_nothing_behind(gateway):
    gateway.receive(frame(TEXT, b"x"))
    gateway.protocol.pauseProducing()
    gateway.lose()
    assert len(gateway.factory.timeouts) == 0
    assert gateway.factory.census.total == 0
    assert gateway.factory.connections == set()


# -- compression


DEFLATE = b"Sec-WebSocket-Extensions: permessage-deflate\r\n"


def test_compression_is_not_negotiated_unless_asked_for():
    assert b"Sec-WebSocket-Extensions" not in Gateway().open(DEFLATE)
    assert b"permessage-deflate" in Gateway(compression=True).open(DEFLATE)


def deflated(payload: bytes) -> bytes:
    compress = zlib.compressobj(wbits=-15)
    return (compress.compress(payload) + compress.flush(zlib.Z_SYNC_FLUSH))[:-4]


def test_compressed_messages_are_inflated_for_php_and_answers_deflated_in_fragments():
    gateway = Gateway(compression=True, fragment_size=200)
    gateway.open(DEFLATE)
    payload = bytes(range(256)) * 4
    sent = bytearray(frame(BINARY, deflated(payload)))
    sent[0] |= 0x40
    gateway.receive(bytes(sent))
    assert gateway.pool.requests[0].stdin == payload
    gateway.pool.answer(payload, header=b"Content-Type: application/octet-stream")
    answer = frames(gateway.sent())
    assert answer[0][0] & 0x40
    assert all(len(piece) <= 200 for _, piece in answer)
    inflated = zlib.decompressobj(wbits=-15).decompress(
        b"".join(piece for _, piece in answer) + b"\x00\x00\xff\xff"
    )
    assert inflated == payload


def test_a_deflate_bomb_is_1009_and_never_reaches_php():
    gateway = Gateway(compression=True, max_message_size=10_000)
    gateway.open(DEFLATE)
    sent = bytearray(frame(BINARY, deflated(b"\x00" * 5_000_000)))
    sent[0] |= 0x40
    gateway.receive(bytes(sent))
    assert close_frame(gateway)[0] == 1009
    assert gateway.pool.requests == []


def test_an_extension_that_autobahn_refuses_is_400():
    gateway = Gateway(compression=True)
    gateway.receive(
        HANDSHAKE % b"Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=99\r\n"
    )
    assert gateway.sent().startswith(b"HTTP/1.1 400")
    assert gateway.transport.disconnecting
    gateway.lose()
    assert gateway.factory.census.total == 0


# -- long messages


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
@pytest.mark.parametrize("cuts", [[], [1], [5], [13], [14], [15], [14, 30_000], [70_000]])
def test_a_long_frame_is_collected_however_it_arrives(opcode, cuts):
    payload = b"abcdefgh" * 10_000
    data = frame(opcode, payload)
    gateway = Gateway()
    gateway.open()
    edges = [0, *cuts, len(data)]
    for start, end in pairwise(edges):
        gateway.receive(data[start:end])
    assert [request.stdin for request in gateway.pool.requests] == [payload]
    gateway.pool.answer()
    gateway.receive(frame(TEXT, b"next"))
    assert gateway.pool.requests[1].stdin == b"next"


def test_what_follows_a_long_frame_in_the_same_chunk_is_read_too():
    gateway = Gateway()
    gateway.open()
    gateway.receive(frame(TEXT, b"1") + frame(BINARY, b"x" * 70_000) + frame(PING, b"p"))
    gateway.pool.answer()
    gateway.pool.answer()
    assert [len(request.stdin) for request in gateway.pool.requests] == [1, 70_000]
    assert (PONG, b"p") in gateway.sent_frames()


def test_a_long_text_that_is_not_utf8_is_judged_by_autobahn():
    gateway = Gateway()
    gateway.open()
    data = frame(TEXT, b"x" * 70_000 + b"\xff")
    gateway.receive(data[:1000])
    gateway.receive(data[1000:])
    assert close_frame(gateway)[0] == 1007
    assert gateway.pool.requests == []


def test_a_long_frame_above_the_limit_is_1009_at_its_header():
    gateway = Gateway(max_message_size=70_000, max_frame_size=70_000)
    gateway.open()
    gateway.receive(frame(BINARY, b"x" * 70_000))
    assert len(gateway.pool.requests) == 1
    gateway.pool.answer()
    gateway.sent()
    gateway.receive(frame(BINARY, b"x" * 70_001)[:14])
    assert close_frame(gateway)[0] == 1009


def test_a_client_that_is_sending_a_long_message_is_not_dropped_for_its_missing_pong(gateway):
    data = frame(BINARY, b"x" * 100_000)
    gateway.receive(data[:1000])
    gateway.clock.advance(25.1)
    for start in range(1000, 5000, 1000):
        gateway.receive(data[start : start + 1000])
        gateway.clock.advance(15)
    assert not gateway.transport.aborted
    gateway.clock.advance(45)
    assert gateway.transport.aborted


# -- long answers


LONG = bytes(range(256)) * 4000
OCTETS = b"Content-Type: application/octet-stream"


def whole(sent_frames):
    """The one message in frames, with control frames apart."""
    data = b"".join(payload for opcode, payload in sent_frames if opcode < 8)
    return data, [(opcode, payload) for opcode, payload in sent_frames if opcode >= 8]


def test_a_long_answer_goes_out_a_part_per_turn_and_others_get_theirs(gateway):
    gateway.receive(frame(TEXT, b"x"))
    gateway.pool.answer(LONG, header=OCTETS)
    parts = [gateway.sent()]
    assert len(parts[0]) < 300_000
    while gateway.clock.getDelayedCalls() and gateway.protocol._sending is not None:
        gateway.clock.advance(0)
        parts.append(gateway.sent())
    assert whole([(f & 15, p) for f, p in frames(b"".join(parts))]) == (LONG, [])


def test_the_next_message_is_asked_only_when_a_long_answer_is_out(gateway):
    gateway.protocol.pauseProducing()
    gateway.protocol.resumeProducing()
    gateway.receive(frame(TEXT, b"1") + frame(TEXT, b"2"))
    gateway.protocol.transport.write = stop_after(gateway, gateway.protocol.transport.write)
    gateway.pool.answer(LONG, header=OCTETS)
    gateway.clock.advance(0)
    assert len(gateway.pool.requests) == 1
    while gateway.protocol._sending is not None:
        gateway.protocol.resumeProducing()
        gateway.clock.advance(0)
    assert len(gateway.pool.requests) == 2 or gateway.protocol._output_paused
    gateway.protocol.resumeProducing()
    assert len(gateway.pool.requests) == 2
    assert whole(gateway.sent_frames())[0] == LONG


def stop_after(gateway, write):
    """A transport that is full after each write."""

    def write_and_pause(data):
        write(data)
        gateway.protocol.pauseProducing()

    return write_and_pause


def test_a_ping_is_answered_between_the_fragments_of_a_long_answer(gateway):
    gateway.receive(frame(TEXT, b"x"))
    gateway.pool.answer(LONG, header=OCTETS)
    gateway.receive(frame(PING, b"p"))
    while gateway.protocol._sending is not None:
        gateway.clock.advance(0)
    sent = gateway.sent_frames()
    assert whole(sent) == (LONG, [(PONG, b"p")])
    assert sent[-1][0] != PONG


@pytest.mark.parametrize("header", [b"Wsgate-Close: 4001 done", b"X: y"])
def test_a_close_comes_after_a_long_answer(gateway, header):
    gateway.receive(frame(TEXT, b"x") + frame(CLOSE, b"\x03\xe8"))
    gateway.pool.answer(LONG, header=OCTETS + b"\r\n" + header)
    while gateway.protocol._sending is not None:
        assert not gateway.transport.disconnecting
        gateway.clock.advance(0)
    data, [(opcode, payload)] = whole(gateway.sent_frames())
    assert data == LONG
    assert opcode == CLOSE
    assert int.from_bytes(payload[:2], "big") == (4001 if b"4001" in header else 1000)
    assert gateway.transport.disconnecting


def test_a_client_lost_during_a_long_answer_leaves_nothing_behind(gateway):
    gateway.receive(frame(TEXT, b"x"))
    gateway.pool.answer(LONG, header=OCTETS)
    gateway.lose()
    gateway.clock.advance(0)
    assert gateway.clock.getDelayedCalls() == [] or len(gateway.factory.timeouts) == 0


def test_a_shut_down_waits_for_a_long_answer_that_is_going_out(gateway):
    gateway.receive(frame(TEXT, b"x"))
    gateway.pool.answer(LONG, header=OCTETS)
    gateway.factory.close_all()
    while gateway.protocol._sending is not None:
        gateway.clock.advance(0)
    data, [(_, payload)] = whole(gateway.sent_frames())
    assert data == LONG
    assert payload[:2] == b"\x03\xe9"


def test_draining_answers_what_is_due_and_then_says_1001(gateway):
    gateway.receive(frame(TEXT, b"1") + frame(TEXT, b"2"))
    idle = Gateway()
    idle.open()
    idle.factory.drain()
    assert close_frame(idle)[0] == 1001
    gone = gateway.factory.drain()
    gateway.receive(frame(TEXT, b"too late"))
    gateway.pool.answer(b"one")
    gateway.pool.answer(b"two")
    assert [payload for opcode, payload in gateway.sent_frames() if opcode == TEXT] == [
        b"one",
        b"two",
    ]
    assert gateway.protocol.localCloseCode == 1001
    assert len(gateway.pool.requests) == 2
    assert gateway.route.tally.received == gateway.route.tally.answered + gateway.route.tally.gone
    gateway.lose()
    assert gone.called
