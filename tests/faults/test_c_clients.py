"""C1 to C12: what clients may do to a WebSocket, and must not."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
import zlib
from contextlib import ExitStack

import pytest

from tests.faults.invariants import MIB
from tests.faults.scripted_fastcgi import TEXT, Hold, answer, end, stdout
from tests.faults.stage import LATE, NOISE, needs_limit, until
from tests.integration.gateway_process import rss

SMALL = {
    "limits": {
        "max_message_size": "64KiB",
        "max_fragments": 1024,
        "ping_interval": "0s",
        "close_timeout": "500ms",
    }
}


def close_code(client):
    """The code of the close frame; what comes before it is passed over. 1006 without one."""
    with contextlib.suppress(AssertionError, ConnectionError):
        while True:
            frame = client.receive_frame()
            if frame.opcode == 8:
                return int.from_bytes(frame.payload[:2], "big")
    return 1006


def code_for(s, data):
    """What the server closes a new connection with that sends `data(client)`, then ends it."""
    with s.client() as client:
        # It may close before it has read everything.
        with contextlib.suppress(ConnectionError):
            client.socket.sendall(data(client))
        code = close_code(client)
        with contextlib.suppress(ConnectionError):
            client.socket.sendall(client.frame(8, code.to_bytes(2, "big")))
        assert client.is_ended()
        return code


def header(opcode, size, *, mask=b"mask"):
    """A frame's header that claims `size` bytes in 64 bits."""
    return bytes((0x80 | opcode, 0xFF)) + size.to_bytes(8, "big") + mask


# -- C1


@pytest.mark.case("C1")
def test_the_autobahn_testsuite():
    pytest.skip("it is a check of its own in scripts/test: scripts/conformance, 517 cases")


# -- C2

TOO_LONG = {
    "max + 1 in one frame": lambda c: c.frame(2, bytes(65537)),
    "max + 1 in two frames": lambda c: c.frame(2, bytes(65536), fin=False) + c.frame(0, b"x"),
    "max + 1 in frames of 100": lambda c: (
        c.frame(2, b"", fin=False) + c.frame(0, bytes(100), fin=False) * 656
    ),
    "claims 100 GB": lambda c: header(2, 10**11) + b"x",
    "claims 2^63 - 1": lambda c: header(2, 2**63 - 1) + b"x",
    "claims 2^63": lambda c: header(2, 2**63) + b"x",
    "claims 2^64 - 1": lambda c: header(1, 2**64 - 1) + b"x",
}


@pytest.mark.case("C2")
def test_no_claimed_length_takes_memory_and_no_message_exceeds_the_limit(stages, outcome):
    s = stages.scripted(**SMALL)
    codes = {name: code_for(s, data) for name, data in TOO_LONG.items()}
    # A length with the highest bit set is a violation of RFC 6455 §5.2, not a large message.
    high = {"claims 2^63", "claims 2^64 - 1"}
    assert {codes[name] for name in high} <= {1002, 1009}
    assert {code for name, code in codes.items() if name not in high} == {1009}
    with s.client() as client:
        client.send_message(bytes(65536), False)
        assert client.receive_message() == bytes(65536)
    watch = stages.watch(s)
    watch.memory = 3 * MIB
    outcome(f"{len(codes)} ways: 1009, or 1002 for a length that is none; exactly the limit passes")


@pytest.mark.case("C2")
def test_a_hundred_claims_of_a_whole_message_take_only_what_was_sent(stages, outcome):
    s = stages.scripted(limits={"max_message_size": "16MiB", "max_frame_size": "16MiB"})
    before = rss(s.wsgate.pid)
    with ExitStack() as stack:
        for _ in range(100):
            client = stack.enter_context(s.client())
            client.socket.sendall(header(2, 16 * MIB) + b"x" * 1000)
        with s.client() as other:
            other.send_message(b"still here")
            assert other.receive_message() == b"still here"
        grown = rss(s.wsgate.pid) - before
    assert grown < 12 * MIB
    outcome(f"100 frames that claim 16 MiB: memory + {grown / MIB:.1f} MiB")


# -- C3


@pytest.mark.case("C3")
@pytest.mark.parametrize("payload", [b"x", b""], ids=["one byte", "empty"])
def test_too_many_fragments_are_refused(stages, outcome, payload):
    s = stages.scripted(**SMALL)

    def flood(client):
        first = client.frame(2, payload, fin=False)
        return first + client.frame(0, payload, fin=False) * 20_000

    assert code_for(s, flood) == 1008
    with s.client() as client:
        client.send_message(b"y" * 1024, fragment_size=1)
        assert client.receive_message() == b"y" * 1024
    stages.watch(s).memory = 3 * MIB
    outcome(f"20,000 fragments of {len(payload)} bytes: 1008; 1024 fragments pass")


# -- C4


def deflated(size):
    """A frame's payload that inflates to `size` zeros (RFC 7692 §7.2.1)."""
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
    pieces = [deflate.compress(bytes(MIB)) for _ in range(size // MIB)]
    return b"".join([*pieces, deflate.flush(zlib.Z_SYNC_FLUSH)])[:-4]


def compressed_frame(client, payload, opcode=2):
    frame = bytearray(client.frame(opcode, payload))
    frame[0] |= 0x40
    return bytes(frame)


OFFER = (b"Sec-WebSocket-Extensions: permessage-deflate",)


@pytest.mark.case("C4")
def test_compression_is_not_spoken_unless_it_was_asked_for(stages, outcome):
    s = stages.scripted(**SMALL)
    with s.client(extra=OFFER) as client:
        assert b"extensions" not in client.head.lower()
        client.socket.sendall(compressed_frame(client, deflated(MIB)))
        assert close_code(client) == 1002
    outcome("off: not negotiated, a compressed frame is 1002")


@pytest.mark.case("C4")
@pytest.mark.parametrize("bomb", [1, 16, 256])
def test_a_deflate_bomb_is_cut_at_the_limit(stages, outcome, bomb):
    s = stages.scripted(limits={**SMALL["limits"], "compression": True, "max_frame_size": "2MiB"})
    with s.client(extra=OFFER) as client:
        assert b"permessage-deflate" in client.head
        payload = deflated(bomb * MIB)
        client.socket.sendall(compressed_frame(client, payload))
        assert close_code(client) == 1009
    stages.watch(s).memory = 8 * MIB
    outcome(f"on: {len(payload)} bytes that inflate to {bomb} MiB: 1009")


# -- C5


@needs_limit("control_frames_per_second")
@pytest.mark.case("C5")
def test_a_flood_of_pings_from_a_client_that_does_not_read_is_bounded(stages, outcome):
    s = stages.scripted(limits={**SMALL["limits"], "send_timeout": "1s"})
    before = rss(s.wsgate.pid)
    sent = 0
    with s.client() as client:
        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        pings = client.frame(9, bytes(125)) * 500
        client.socket.settimeout(0.2)
        until_time = time.monotonic() + 1.5
        with contextlib.suppress(ConnectionError, TimeoutError):
            while time.monotonic() < until_time:
                client.socket.sendall(pings)
                sent += 500
        grown = rss(s.wsgate.pid) - before
        client.socket.settimeout(10)
        code = close_code(client)
    assert grown < 6 * MIB
    assert code in (1008, 1006)
    outcome(f"{sent} pings: closed with {code}; memory + {grown / MIB:.1f} MiB")


# -- C6


@pytest.mark.case("C6")
def test_a_client_that_never_reads_stops_its_own_calls_and_is_dropped(stages, outcome):
    s = stages.scripted(limits={"send_timeout": "1s", "send_high_water": "256KiB"})
    big = answer(b"a" * 64 * 1024)
    s.peer.default = lambda _: (big,)
    before = len(s.peer.requests)
    began = time.monotonic()
    with ExitStack() as stack:
        clients = [stack.enter_context(s.client()) for _ in range(5)]
        for client in clients:
            client.socket.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                client.socket.sendall(client.frame(1, b"more") * 1000)
        until(lambda: s.wsgate.log().count("took no data for") >= 5, 5)
        seconds = time.monotonic() - began
        asked = len(s.peer.requests) - before
    # Each has what the kernel's buffers take, and send_high_water.
    assert asked < 5 * 120
    stages.watch(s).memory = 12 * MIB
    outcome(
        f"send_timeout 1 s: dropped within {seconds:.1f} s; PHP was asked {asked / 5:.0f} of 1000 "
        "times for each"
    )


# -- C7

VANISHING = """
import socket, sys, time
number, port = int(sys.argv[1]), int(sys.argv[2])
clients = []
for _ in range(number):
    client = socket.create_connection(("127.0.0.1", port), source_address=("127.0.2.1", 0))
    client.sendall(
        b"GET / HTTP/1.1\\r\\nHost: localhost\\r\\nUpgrade: websocket\\r\\n"
        b"Connection: Upgrade\\r\\nSec-WebSocket-Version: 13\\r\\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\\r\\n\\r\\n"
    )
    assert b"101" in client.recv(4096)
    clients.append(client)
print("connected", flush=True)
time.sleep(600)
"""

PINGS = {"ping_interval": "1s", "pong_timeout": "500ms", "close_timeout": "500ms"}


def vanish(s, number):
    """Clients that are stopped, so that only their kernel answers; seconds until they are gone."""
    crowd = subprocess.Popen(
        [sys.executable, "-c", VANISHING, str(number), str(s.port)], stdout=subprocess.PIPE
    )
    try:
        assert crowd.stdout.readline() == b"connected\n"
        os.kill(crowd.pid, signal.SIGSTOP)
        began = time.monotonic()
        assert s.open_files() >= s.descriptors + number
        until(lambda: s.open_files() <= s.descriptors, 1 + 0.5 + 0.5 + LATE, "all are gone")
        return time.monotonic() - began
    finally:
        crowd.kill()
        crowd.wait()
        crowd.stdout.close()


@pytest.mark.case("C7")
def test_clients_that_vanish_are_found_by_pings(stages, outcome):
    s = stages.scripted(limits=PINGS)
    seconds = vanish(s, 100)
    outcome(f"100 stopped clients: gone after {seconds:.1f} s (pings each 1 s, 0.5 s for a pong)")


@pytest.mark.long
@pytest.mark.case("C7")
def test_a_thousand_clients_that_vanish_are_found_by_pings(stages, outcome):
    s = stages.scripted(limits=PINGS)
    stages.watch(s).memory = 64 * MIB
    seconds = vanish(s, 1000)
    outcome(f"1000 stopped clients: gone after {seconds:.1f} s")


# -- C8

NOT_UTF8 = (
    *(b"\xff", b"\xfe", b"\x80", b"\xc0\x80", b"\xc1\xbf", b"\xe0\x80\x80", b"\xed\xa0\x80"),
    *(b"\xf0\x80\x80\x80", b"\xf4\x90\x80\x80", b"\xf8\x88\x80\x80\x80", b"\xe2\x82", b"\xce"),
)


@pytest.mark.case("C8")
def test_text_that_is_not_utf8_is_1007_wherever_it_is(stages, outcome):
    s = stages.scripted(**SMALL)
    tried = 0
    before = len(s.peer.requests)
    for bad in NOT_UTF8:
        for text in (bad, b"good " + bad, bad + b" good", b"g" * 30_000 + bad):
            assert code_for(s, lambda c, text=text: c.frame(1, text)) == 1007
            tried += 1
        # Split over two frames.
        data = lambda c, bad=bad: c.frame(1, b"g" + bad[:1], fin=False) + c.frame(0, bad[1:])  # noqa: E731
        assert code_for(s, data) == 1007
        tried += 1
    assert len(s.peer.requests) == before, "PHP got one of them"
    outcome(f"{tried} malformed texts: 1007, PHP never called")


@pytest.mark.case("C8")
def test_a_close_code_that_may_not_be_sent_is_1002_and_a_bad_reason_1007(stages, outcome):
    s = stages.scripted(**SMALL)
    bad = (0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535)
    for code in bad:
        assert code_for(s, lambda c, code=code: c.frame(8, code.to_bytes(2, "big"))) == 1002, code
    assert code_for(s, lambda c: c.frame(8, b"\x03")) == 1002
    for text in NOT_UTF8:
        payload = b"\x03\xe8" + text
        assert code_for(s, lambda c, payload=payload: c.frame(8, payload)) == 1007
    for code in (1000, 1001, 1011, 3000, 4999):
        assert code_for(s, lambda c, code=code: c.frame(8, code.to_bytes(2, "big"))) == code
    outcome(f"{len(bad) + 1} codes: 1002; {len(NOT_UTF8)} reasons: 1007; good ones are echoed")


# -- C9


@pytest.mark.case("C9")
def test_a_client_that_closes_and_stays_is_dropped(stages, outcome):
    s = stages.scripted(**SMALL)
    before = len(s.peer.requests)
    with s.client() as client:
        client.socket.sendall(client.frame(8, b"\x03\xe8"))
        began = time.monotonic()
        assert close_code(client) == 1000
        with contextlib.suppress(ConnectionError):
            client.socket.sendall(client.frame(1, b"after the close") * 100)
        assert client.is_ended()
        seconds = time.monotonic() - began
    assert seconds < 0.5 + LATE + NOISE
    assert len(s.peer.requests) == before
    outcome(f"ended {seconds:.2f} s after its close; what it sent then was not read")


@pytest.mark.case("C9")
def test_a_client_that_answers_no_close_is_dropped(stages, outcome):
    s = stages.scripted(**SMALL)
    with s.client() as client:
        client.socket.sendall(client.frame(3, b"?"))
        began = time.monotonic()
        assert close_code(client) == 1002
        assert client.is_ended()
        seconds = time.monotonic() - began
    assert seconds < 0.5 + LATE + NOISE
    outcome(f"no answer to our close: dropped after {seconds:.2f} s (close_timeout 0.5 s)")


# -- C10

BROKEN = {
    "no mask": lambda c: b"\x81\x01x",
    "an empty one without mask": lambda c: b"\x81\x00",
    "RSV1": lambda c: b"\xc1" + c.frame(1, b"x")[1:],
    "RSV2": lambda c: b"\xa1" + c.frame(1, b"x")[1:],
    "RSV3": lambda c: b"\x91" + c.frame(1, b"x")[1:],
    **{f"opcode {n}": lambda c, n=n: c.frame(n, b"x") for n in (3, 4, 5, 6, 7)},
    **{f"opcode {n}": lambda c, n=n: c.frame(n, b"") for n in (11, 12, 13, 14, 15)},
    "a ping in fragments": lambda c: c.frame(9, b"x", fin=False),
    "a close in fragments": lambda c: c.frame(8, b"\x03\xe8", fin=False),
    "a ping of 126 bytes": lambda c: c.frame(9, bytes(126)),
    "a pong of 126 bytes": lambda c: c.frame(10, bytes(126)),
    "a ping of 70,000 bytes": lambda c: c.frame(9, bytes(70_000)),
    "a continuation of nothing": lambda c: c.frame(0, b"x"),
    "a message within a message": lambda c: c.frame(1, b"x", fin=False) + c.frame(1, b"y"),
    "16 bits for 5 bytes, no mask": lambda c: b"\x82\x7e\x00\x05abcde",
}


@pytest.mark.case("C10")
@pytest.mark.parametrize("alone", [True, False], ids=["first", "after a message"])
def test_a_violation_of_the_protocol_is_1002_which_the_client_sees(stages, outcome, alone):
    s = stages.scripted(**SMALL)
    for name, data in BROKEN.items():
        if alone:
            code = code_for(s, data)
        else:
            code = code_for(s, lambda c, data=data: c.frame(1, b"good") + data(c))
        assert code == 1002, name
    outcome(f"{len(BROKEN)} violations: 1002")


# -- C11


@pytest.mark.case("C11")
def test_one_client_gets_no_more_than_its_rate(stages, outcome):
    s = stages.scripted(limits={"messages_per_second": 50})
    before = len(s.peer.requests)
    seconds = 2.0
    with s.client() as client:
        client.socket.settimeout(0.05)
        began = time.monotonic()
        frames = client.frame(1, b"more") * 1000
        sent = memoryview(b"")
        answers = 0
        while time.monotonic() < began + seconds:
            sent = sent or memoryview(frames)
            with contextlib.suppress(TimeoutError):
                sent = sent[client.socket.send(sent) :]
            with contextlib.suppress(TimeoutError):
                answers += client.socket.recv(65536).count(b"more")
        asked = len(s.peer.requests) - before
        took = time.monotonic() - began
        client.reset()
    # Twice the rate at once, then the rate; and what the last batch and the noise may add.
    assert 50 * seconds <= asked <= 100 + 50 * took + 50
    assert answers <= asked
    outcome(f"messages_per_second 50: {asked} of endless messages reached PHP in {took:.1f} s")


@pytest.mark.case("C11")
def test_one_client_without_a_rate_takes_one_worker_at_most(stages, outcome):
    s = stages.scripted()
    most = 0
    with s.client() as client:
        client.socket.settimeout(0.2)
        frames = client.frame(1, b"more") * 1000
        began, answers = time.monotonic(), 0
        client.socket.setblocking(False)
        while time.monotonic() < began + 1:
            with contextlib.suppress(BlockingIOError):
                client.socket.send(frames)
            with contextlib.suppress(BlockingIOError):
                answers += client.socket.recv(65536).count(b"more")
            most = max(most, int(s.metrics().total("wsgate_pool_in_flight", pool="default")))
        client.reset()
    assert most <= 1
    outcome(f"without a rate: {answers} answers in 1 s, one request at a time")


# -- C12


def pipelined(stages, outcome, total):
    """Send that many messages before the first answer; they must be answered in order."""
    s = stages.scripted(pool={"response_timeout": "30s"})
    gate = threading.Event()
    s.peer.default = lambda request: (Hold(gate), answer(request.stdin))
    with s.client() as client:
        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)

        def send():
            for first in range(0, total, 100):
                frames = [client.frame(1, b"%d" % n) for n in range(first, first + 100)]
                client.socket.sendall(b"".join(frames))

        sending = threading.Thread(target=send)
        sending.start()
        until(lambda: s.peer.open == 1)
        before = rss(s.wsgate.pid)
        with s.client("/bystander") as other:
            other.send_message(b"meanwhile")
            assert other.receive_message() == b"meanwhile"
        assert s.peer.open == 1
        gate.set()
        answers = [int(client.receive_message()) for _ in range(total)]
        sending.join()
    assert answers == list(range(total))
    grown = rss(s.wsgate.pid) - before
    assert grown < 16 * MIB
    outcome(f"{total} answers in order; memory + {grown / MIB:.1f} MiB")


@pytest.mark.case("C12")
def test_messages_sent_before_the_first_answer_are_answered_in_order(stages, outcome):
    pipelined(stages, outcome, 1000)


@pytest.mark.long
@pytest.mark.case("C12")
def test_ten_thousand_messages_before_the_first_answer_are_answered_in_order(stages, outcome):
    pipelined(stages, outcome, 10_000)


@pytest.mark.case("C12")
def test_a_client_is_not_read_while_its_queue_is_full(stages, outcome):
    s = stages.scripted(pool={"response_timeout": "10s"}, limits={"queue_per_connection": 16})
    gate = threading.Event()
    s.peer.default = lambda _: (Hold(gate), stdout(TEXT), end())
    with s.client() as client:
        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        client.socket.setblocking(False)
        frame = client.frame(2, bytes(10_000))
        sent, quiet = 0, 0
        while quiet < 3:
            _, writable, _ = select.select([], [client.socket], [], 0.1)
            quiet = 0 if writable else quiet + 1
            if writable:
                with contextlib.suppress(BlockingIOError):
                    sent += client.socket.send(frame)
            assert sent < 64 * MIB, "it reads all that comes"
        gate.set()
        client.reset()
    outcome(f"TCP stops the client after {sent / MIB:.1f} MiB (queue of 16)")
