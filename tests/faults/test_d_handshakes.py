"""D1 to D9: what strangers may do before they are clients: TCP, TLS and the handshake."""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import resource
import shutil
import socket
import ssl
import struct
import subprocess
import time
from contextlib import ExitStack

import pytest

from tests.faults.invariants import MIB
from tests.faults.stage import LATE, NOISE, needs_limit, until
from tests.faults.test_a_answers import cpu
from tests.integration.gateway_process import rss
from tests.integration.raw_client import RawClient
from tests.integration.test_tls_service import Authority

HANDSHAKE = 1.0
QUICK = {"limits": {"handshake_timeout": f"{HANDSHAKE}s"}}


def good_head(*extra, host=b"localhost", target=b"/", drop=()):
    """The lines of a handshake that is accepted, as bytes; without those named in `drop`."""
    lines = [
        b"Host: " + host,
        b"Upgrade: websocket",
        b"Connection: Upgrade",
        b"Sec-WebSocket-Version: 13",
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    ]
    kept = [line for line in lines if line.partition(b":")[0] not in drop]
    return b"\r\n".join([b"GET " + target + b" HTTP/1.1", *kept, *extra]) + b"\r\n\r\n"


def answer_to(port, data, source=None):
    """Everything the server answers to `data` until it ends the connection, or says 101."""
    address = (source, 0) if source else None
    answer = b""
    with (
        contextlib.suppress(ConnectionError),
        socket.create_connection(("127.0.0.1", port), 10, source_address=address) as client,
    ):
        with contextlib.suppress(ConnectionError):
            client.sendall(data)
        while data := client.recv(65536):
            answer += data
            if answer.startswith(b"HTTP/1.1 101"):
                break
    return answer


def first_bytes(port, data, source):
    """What the server says first to `data`; nothing if it just ends the connection."""
    with (
        contextlib.suppress(ConnectionError),
        socket.create_connection(("127.0.0.1", port), 10, source_address=(source, 0)) as client,
    ):
        client.sendall(data)
        return client.recv(65536)
    return b""


def status_of(port, data, source=None):
    """The status of the answer; 0 if there is none."""
    answer = answer_to(port, data, source)
    return int(answer.split()[1]) if answer.startswith(b"HTTP/1.1 ") else 0


def client_context(**options):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    for name, value in options.items():
        setattr(context, name, value)
    return context


# -- D1


def client_hello():
    """The first bytes a TLS client sends."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = client_context().wrap_bio(incoming, outgoing)
    with contextlib.suppress(ssl.SSLWantReadError):
        tls.do_handshake()
    return outgoing.read()


def slowloris(s, port, data, number, limit):
    """`number` connections that send a byte of `data` each twentieth of a second.

    Gives the seconds until all are gone, within `limit`, and the slowest of 20 good connections
    meanwhile. Those begin after a second if `max_handshakes` are under way: then the oldest slow
    one gives way to a new one.
    """
    slow = []
    good = []
    began = time.monotonic()
    try:
        for _ in range(number):
            one = socket.create_connection(("127.0.0.1", port), 10, source_address=("127.0.3.1", 0))
            one.setblocking(False)
            slow.append(one)
        connected = time.monotonic()
        crowded = number > 500
        at = 0
        # A good one also where the slow ones are gone before the first look.
        while (crowd := s.open_files() > s.descriptors) or not good:
            assert not crowd or time.monotonic() < connected + limit + LATE + NOISE, "still there"
            for one in slow:
                with contextlib.suppress(OSError):
                    one.send(data[at : at + 1])
            at += 1
            if len(good) < 20 and time.monotonic() > connected + 1.1 * crowded:
                start = time.monotonic()
                s.client().socket.close()
                good.append(time.monotonic() - start)
            time.sleep(0.05)
        return time.monotonic() - began, max(good)
    finally:
        for one in slow:
            one.close()


@pytest.mark.case("D1")
@pytest.mark.parametrize("kind", ["plain", "tls"])
def test_slow_handshakes_end_in_time_and_keep_nobody_out(stages, outcome, kind):
    slow_handshakes(stages, outcome, kind, 150)


@pytest.mark.long
@pytest.mark.case("D1")
@pytest.mark.parametrize("kind", ["plain", "tls"])
def test_a_thousand_slow_handshakes_end_in_time_and_keep_nobody_out(stages, outcome, kind):
    slow_handshakes(stages, outcome, kind, 1000)


def slow_handshakes(stages, outcome, kind, number):
    limit = HANDSHAKE if number <= 500 else 4.0
    limits = {"handshake_timeout": f"{limit}s"}
    s = stages.scripted(limits=limits, also=("tls",), options=("--self-signed",))
    watch = stages.watch(s)
    watch.memory = 32 * MIB + number * 60 * 1024
    watch.kept += number * 40 * 1024
    if number >= 1000:
        # From one address, which the limits per address would not let in.
        watch.p99 = 1.0
    data = client_hello() if kind == "tls" else good_head()
    port = s.also["tls"] if kind == "tls" else s.port
    seconds, slowest = slowloris(s, port, data, number, limit)
    assert slowest < 0.5 + NOISE
    outcome(
        f"{number} {kind}: gone after {seconds:.1f} s (handshake_timeout {limit:g} s); slowest of "
        f"20 good handshakes {slowest * 1e3:.0f} ms"
    )


# -- D2


@pytest.mark.case("D2")
def test_a_head_beyond_the_limits_is_refused_before_it_is_all_here(stages, outcome):
    s = stages.scripted(**QUICK)
    assert status_of(s.port, good_head(b"X: " + b"y" * 16000)) == 101
    assert status_of(s.port, good_head(b"X: " + b"y" * 17 * 1024)) == 431
    lines = [b"X-%d: y" % number for number in range(59)]
    assert status_of(s.port, good_head(*lines)) == 101
    assert status_of(s.port, good_head(*lines, b"X-60: y")) == 431
    before = rss(s.wsgate.pid)
    sent = 0
    with socket.create_connection(("127.0.0.1", s.port), 10) as client:
        client.sendall(b"GET / HTTP/1.1\r\n")
        with contextlib.suppress(ConnectionError):
            while sent < 2**30:
                client.sendall(b"X: " + b"y" * 65533)
                sent += 65536
    grown = rss(s.wsgate.pid) - before
    assert sent < 16 * MIB
    stages.watch(s).memory = 2 * MIB
    outcome(
        f"16 KiB and 64 lines pass, more is 431; a head without end: cut after "
        f"{sent // 1024} KiB, memory + {grown / MIB:.1f} MiB"
    )


# -- D3

FORGED = b"X-Forwarded-For: 6.6.6.6"
ENDS = {
    **{f"\\x{byte:02x}": bytes((byte,)) for byte in (0x0B, 0x0C, 0x1C, 0x1D, 0x1E, 0x85)},
    "NUL": b"\0",
    "bare LF": b"\n",
    "bare CR": b"\r",
    "fold": b"\r\n ",
    "DEL": b"\x7f",
}
PLACES = {
    "in a name": lambda end: b"X-No" + end + FORGED + b": v",
    "before the colon": lambda end: b"X-Note" + end + b": v",
    "in a value": lambda end: b"X-Note: hello" + end + FORGED,
    "at the start of a value": lambda end: b"X-Note:" + end + FORGED,
    "at the end of a value": lambda end: b"X-Note: hello" + end,
    "alone": lambda end: end,
}


@pytest.mark.case("D3")
def test_no_byte_forges_a_header(stages, outcome):
    s = stages.scripted(**QUICK)
    refused = 0
    before = len(s.peer.requests)
    for end_name, end in ENDS.items():
        for place_name, place in PLACES.items():
            if (end_name, place_name) == ("fold", "alone"):
                # That is the empty line, the end of the head.
                continue
            status = status_of(s.port, good_head(place(end)))
            if end == b"\x85" and "value" in place_name:
                # A part of UTF-8 there, as `Ņ` (C5 85); it is passed on and ends no line.
                assert status == 101
                continue
            assert status == 400, (end_name, place_name)
            refused += 1
    for line in (b"X-Note : v", b" X: v", b"\tX: v", b": v", b"X", b"", b"X\xc3\xa9: v"):
        if line:
            assert status_of(s.port, good_head(line)) == 400, line
            refused += 1
    assert len(s.peer.requests) == before
    with s.client(extra=(b"X-Note: hello\x85" + FORGED,)) as client:
        client.send_message(b"seen")
        assert client.receive_message() == b"seen"
    params = s.peer.requests[-1].params
    assert params[b"HTTP_X_NOTE"] == b"hello\x85" + FORGED
    assert b"HTTP_X_FORWARDED_FOR" not in params
    outcome(f"{refused} heads: 400, PHP not called; \\x85 in a value stays a byte of it")


# -- D4

KEY = b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="
REQUESTS = {
    "Host twice": (good_head(b"Host: evil"), 400),
    "no Host": (good_head(drop=(b"Host",)), 400),
    "Origin twice": (good_head(b"Origin: http://localhost", b"Origin: http://evil"), 400),
    "Key twice": (good_head(KEY), 400),
    "Version twice": (good_head(b"Sec-WebSocket-Version: 13"), 400),
    "Authorization twice": (good_head(b"Authorization: a", b"Authorization: b"), 400),
    "Content-Length": (good_head(b"Content-Length: 5"), 400),
    "Transfer-Encoding": (good_head(b"Transfer-Encoding: chunked"), 400),
    "both": (good_head(b"Content-Length: 5", b"Transfer-Encoding: chunked"), 400),
    "POST": (good_head().replace(b"GET", b"POST", 1), 405),
    "CONNECT": (good_head().replace(b"GET /", b"CONNECT localhost:80", 1), 405),
    "HEAD": (good_head().replace(b"GET", b"HEAD", 1), 405),
    "HTTP/1.0": (good_head().replace(b"HTTP/1.1", b"HTTP/1.0", 1), 505),
    "HTTP/2.0": (good_head().replace(b"HTTP/1.1", b"HTTP/2.0", 1), 505),
    "HTTP/0.9": (b"GET /\r\n\r\n", 400),
    "h2 preface": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
    "no Key": (good_head(drop=(b"Sec-WebSocket-Key",)), 400),
    "version 8": (
        good_head(b"Sec-WebSocket-Version: 8", drop=(b"Sec-WebSocket-Version",)),
        426,
    ),
    "TLS": (client_hello() + b"\r\n\r\n", 400),
}


@pytest.mark.case("D4")
def test_requests_that_are_no_plain_handshake_are_refused_and_nothing_after_them_is_read(
    stages, outcome
):
    s = stages.scripted(**QUICK)
    for name, (request, status) in REQUESTS.items():
        answer = answer_to(s.port, request + good_head())
        assert answer.startswith(b"HTTP/1.1 %d " % status), (name, answer[:100])
        assert len(re.findall(rb"HTTP/1\.1 \d+ ", answer)) == 1, name
        assert b"Connection: close" in answer
    assert status_of(s.port, good_head(b"Expect: 100-continue")) in (101, 400, 417)
    assert status_of(s.port, good_head(b"Upgrade: websocket")) in (101, 400)
    outcome(f"{len(REQUESTS)} requests: 400, 405, 426 or 505, then the end")


# -- D5

ORIGINS = {
    None: 101,
    b"http://localhost": 101,
    b"https://localhost": 101,
    b"http://LOCALHOST": 101,
    b"http://localhost:80": 101,
    b"null": 403,
    b"": 403,
    b"http://evil.com": 403,
    b"http://localhost.evil.com": 403,
    b"http://evil.localhost": 403,
    b"http://evillocalhost": 403,
    b"http://localhost@evil.com": 403,
    b"http://evil.com@localhost": 403,
    b"http://localhost:8080": 403,
    b"http://localhost/": 403,
    b"http://localhost#": 403,
    b"http://localhost?": 403,
    b"http://localhost\\.evil.com": 403,
    b"file://localhost": 403,
    b"ws://localhost": 403,
    b"localhost": 403,
    b"//localhost": 403,
    b"http://loc\xc3\xa4lhost": 403,
    b"http://xn--loclhost-1za": 403,
    b"http://localhost http://evil.com": 403,
    b"http://localhost, http://evil.com": 403,
    b"http://localhost.": 403,
}


@pytest.mark.case("D5")
def test_only_pages_of_the_same_host_may_connect(stages, outcome):
    s = stages.scripted(**QUICK)
    for origin, status in ORIGINS.items():
        extra = () if origin is None else (b"Origin: " + origin,)
        answer = answer_to(s.port, good_head(*extra))
        assert answer.startswith(b"HTTP/1.1 %d " % status), origin
        if status == 403:
            assert b"\r\n\r\nThis origin is not allowed\n" in answer
    refused = sum(status == 403 for status in ORIGINS.values())
    outcome(f"{refused} disguises: 403 with a fixed reason; the same host and no Origin pass")


# -- D6

CLIENT = b"192.0.2.7"
FORWARDED = {
    "none": (None, b"127.0.0.1"),
    "one": (CLIENT, CLIENT),
    "spoofed before it": (b"6.6.6.6, " + CLIENT, CLIENT),
    "20 hops": (b", ".join(b"10.0.0.%d" % n for n in range(19)) + b", " + CLIENT, CLIENT),
    "IPv6": (b"2001:db8::7", b"2001:db8::7"),
    "a trusted one behind it": (CLIENT + b", 127.0.0.9", CLIENT),
}
GARBAGE = (
    b"garbage",
    b"<script>",
    b"1.2.3.4.5",
    b"",
    b", ,",
    b"\xff\xfe",
    b"unknown",
    b"-1",
    b"::g",
)


def remote_addr(s, extra, source):
    """REMOTE_ADDR as PHP sees it, of a client at `source`; None if it is refused."""
    with socket.create_connection(
        ("127.0.0.1", s.port), 10, source_address=(source, 0)
    ) as connection:
        connection.sendall(good_head(*extra))
        if not connection.recv(4096).startswith(b"HTTP/1.1 101"):
            return None
        connection.sendall(RawClient.frame(None, 1, b"who?"))
        connection.recv(4096)
    return s.peer.requests[-1].params[b"REMOTE_ADDR"]


TRUSTING = {
    **QUICK,
    "gateway_settings": {"trusted_proxies": ["127.0.0.0/24"]},
    "also": ("haproxy",),
}


@pytest.mark.case("D6")
def test_only_a_trusted_proxy_says_who_the_client_is(stages, outcome):
    s = stages.scripted(**TRUSTING)
    right = 0
    for name, (value, expected) in FORWARDED.items():
        extra = () if value is None else (b"X-Forwarded-For: " + value,)
        assert remote_addr(s, extra, "127.0.0.1") == expected, name
        # From another address of this machine, which is not listed.
        assert remote_addr(s, extra, "127.9.9.9") == b"127.9.9.9", name
        right += 2
    for value in GARBAGE:
        seen = remote_addr(s, (b"X-Forwarded-For: " + value,), "127.0.0.1")
        assert seen in (None, b"127.0.0.1"), value
        assert remote_addr(s, (b"X-Forwarded-For: " + value,), "127.9.9.9") == b"127.9.9.9"
    outcome(f"X-Forwarded-For: REMOTE_ADDR right in {right} combinations, garbage never taken")


def proxy_v2(address):
    body = socket.inet_aton(address) + socket.inet_aton("127.0.0.1") + struct.pack(">HH", 1234, 80)
    return b"\r\n\r\n\0\r\nQUIT\n" + b"\x21\x11" + struct.pack(">H", len(body)) + body


PROXY = {"v1": b"PROXY TCP4 192.0.2.7 127.0.0.1 1234 80\r\n", "v2": proxy_v2("192.0.2.7")}


@pytest.mark.case("D6")
@pytest.mark.parametrize("version", PROXY)
def test_only_a_trusted_proxy_may_speak_the_proxy_protocol(stages, outcome, version):
    s = stages.scripted(**TRUSTING)
    port = s.also["haproxy"]
    head = PROXY[version] + good_head()
    with socket.create_connection(("127.0.0.1", port), 10) as connection:
        connection.sendall(head)
        assert connection.recv(4096).startswith(b"HTTP/1.1 101")
        connection.sendall(RawClient.frame(None, 1, b"who?"))
        connection.recv(4096)
    assert s.peer.requests[-1].params[b"REMOTE_ADDR"] == CLIENT
    assert answer_to(port, head, "127.9.9.9") == b""
    # On a port without the protocol it is no request.
    assert status_of(s.port, head) in (0, 400, 505)
    for broken in (b"PROXY TCP4 x y\r\n", b"PROXY " + b"z" * 200, b"\r\n\r\n\0\r\nQUIT\n\x21\xff"):
        assert answer_to(port, broken + good_head()) == b""
    outcome(f"PROXY {version}: believed from a listed address, closed from another")


# -- D7


@pytest.mark.case("D7")
def test_garbage_and_old_versions_are_refused_by_a_tls_port(stages, outcome):
    s = stages.scripted(**QUICK, also=("tls",), options=("--self-signed",))
    port = s.also["tls"]
    for garbage in (good_head(), os.urandom(2000), b"\x16\x03\x01" + os.urandom(500), b"\x80\x2e"):
        assert b"HTTP" not in answer_to(port, garbage)
    for version in (ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1):
        context = client_context()
        context.set_ciphers("ALL:@SECLEVEL=0")
        with pytest.warns(DeprecationWarning, match="deprecated"):
            context.minimum_version = context.maximum_version = version
        with pytest.raises((ssl.SSLError, ConnectionError)):
            RawClient(port, tls=context)
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        context = client_context(minimum_version=version, maximum_version=version)
        with RawClient(port, tls=context) as client:
            client.send_message(b"over TLS")
            assert client.receive_message() == b"over TLS"
            # No close_notify: the socket below just ends.
            os.close(client.socket.detach())
    outcome("garbage, TLS 1.0 and 1.1: refused; an end without close_notify harms nothing")


@pytest.mark.skipif(not shutil.which("openssl"), reason="needs the program openssl")
@pytest.mark.case("D7")
def test_a_client_cannot_renegotiate(stages, outcome):
    s = stages.scripted(**QUICK, also=("tls",), options=("--self-signed",))
    said = subprocess.run(
        ["openssl", "s_client", "-tls1_2", "-connect", f"127.0.0.1:{s.also['tls']}"],
        input=b"R\n",
        capture_output=True,
        check=False,
        timeout=20,
    )
    assert b"RENEGOTIATING" in said.stdout + said.stderr
    assert b"no renegotiation" in said.stdout + said.stderr
    outcome("renegotiation (TLS 1.2): refused")


def half_handshakes(stages, outcome, number, **limits):
    s = stages.scripted(
        limits={**QUICK["limits"], **limits}, also=("tls",), options=("--self-signed",)
    )
    stages.watch(s).memory = 64 * MIB
    hello = client_hello()
    began = time.monotonic()
    used = cpu(s.wsgate.pid)
    halves = []
    for _ in range(number):
        # Some are turned away at once, where too many are under way.
        with contextlib.suppress(ConnectionError):
            half = socket.create_connection(("127.0.0.1", s.also["tls"]), 10)
            halves.append(half)
            half.sendall(hello)
    with (
        socket.create_connection(
            ("127.0.0.1", s.also["tls"]), 10, source_address=("127.0.4.9", 0)
        ) as plain,
        client_context().wrap_socket(plain) as good,
    ):
        good.sendall(good_head())
        assert good.recv(4096).startswith(b"HTTP/1.1 101 ")
    until(lambda: s.open_files() <= s.descriptors, HANDSHAKE + LATE, "all halves are gone")
    seconds = time.monotonic() - began
    used = cpu(s.wsgate.pid) - used
    for half in halves:
        half.close()
    outcome(
        f"{number} half TLS handshakes: gone after {seconds:.1f} s, {used * 1e3 / number:.2f} ms "
        "of CPU each; a good client connects meanwhile"
    )


@pytest.mark.case("D7")
def test_half_handshakes_end_in_time(stages, outcome):
    half_handshakes(stages, outcome, 200)


@pytest.mark.long
@pytest.mark.case("D7")
def test_five_thousand_half_handshakes_end_in_time(stages, outcome):
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if hard != resource.RLIM_INFINITY and hard < 6000:
        pytest.skip(f"5000 connections need 6000 descriptors, this system allows {hard}")
    # With the limits per address as they are by default.
    half_handshakes(
        stages, outcome, 5000, new_connections_per_address=20, max_connections_per_address=200
    )


IN_OPEN = 0x20


@contextlib.contextmanager
def opened_in(folder):
    """A function that tells how often a file in `folder` was opened since."""
    libc = ctypes.CDLL(None, use_errno=True)
    watching = libc.inotify_init1(os.O_NONBLOCK)
    assert watching >= 0
    try:
        assert libc.inotify_add_watch(watching, os.fsencode(folder), IN_OPEN) >= 0

        def count():
            events = b""
            with contextlib.suppress(BlockingIOError):
                while data := os.read(watching, 65536):
                    events += data
            at = number = 0
            while at < len(events):
                at += 16 + struct.unpack_from("I", events, at + 12)[0]
                number += 1
            return number

        yield count
    finally:
        os.close(watching)


def unknown_names(stages, outcome, folder, number):
    authority = Authority(folder)
    certificates = folder / "certificates"
    authority.issue("a.example", certificates)
    authority.issue("localhost", certificates)
    s = stages.scripted(
        fresh=True, also=("tls",), gateway_settings={"certificates": str(certificates)}
    )
    context = client_context()
    with opened_in(certificates) as count:
        for index in range(number):
            with (
                socket.create_connection(("127.0.0.1", s.also["tls"]), 10) as plain,
                contextlib.suppress(ssl.SSLError, ConnectionError),
            ):
                context.wrap_socket(plain, server_hostname=f"unknown{index}.example").close()
        opened = count()
    # A look at the folder now and then, to find renewed certificates, is no more than that.
    assert opened <= 2 + number // 20
    outcome(f"{number} unknown names: {opened} files opened")


@pytest.mark.case("D7")
def test_unknown_names_make_no_work_for_the_disk(stages, outcome, tmp_path):
    unknown_names(stages, outcome, tmp_path, 200)


@pytest.mark.long
@pytest.mark.case("D7")
def test_ten_thousand_unknown_names_make_no_work_for_the_disk(stages, outcome, tmp_path):
    unknown_names(stages, outcome, tmp_path, 10_000)


# -- D8


def refused_or_gone(port, source):
    """Whether a handshake from `source` is refused with 503, or ends without an answer."""
    return status_of(port, good_head(), source) in (503, 0)


@pytest.mark.case("D8")
def test_one_address_gets_its_share_of_connections_and_no_more(stages, outcome):
    s = stages.scripted(
        fresh=True, limits={"max_connections_per_address": 20, "new_connections_per_address": 0}
    )
    with ExitStack() as stack:
        for _ in range(20):
            stack.enter_context(s.client())
        assert all(refused_or_gone(s.port, None) for _ in range(10))
        assert status_of(s.port, good_head(), "127.0.4.1") == 101
    until(lambda: status_of(s.port, good_head()) == 101)
    outcome("limit 20 per address: the 21st gets 503, another address gets in")


@pytest.mark.case("D8")
def test_the_last_place_of_all_is_given_once(stages, outcome):
    # The bystanders have 20 of them.
    s = stages.scripted(fresh=True, limits={"max_connections": 30})
    with ExitStack() as stack:
        for _ in range(10):
            stack.enter_context(s.client())
        assert all(refused_or_gone(s.port, f"127.0.4.{number}") for number in range(1, 11))
    until(lambda: status_of(s.port, good_head()) == 101)
    outcome("limit 30 in all: the 31st gets 503 from whichever address")


@needs_limit("new_connections_per_address")
@pytest.mark.case("D8")
def test_one_address_may_not_connect_too_fast(stages, outcome):
    s = stages.scripted(
        fresh=True,
        also=("tls",),
        options=("--self-signed",),
        limits={"new_connections_per_address": 5, "max_connections_per_address": 0},
    )
    statuses = [status_of(s.port, good_head(), "127.0.4.1") for _ in range(30)]
    accepted = statuses.count(101)
    # Twice the rate at once, and what time brought meanwhile.
    assert 10 <= accepted < 30, statuses
    assert set(statuses) <= {101, 503, 0}
    assert status_of(s.port, good_head(), "127.0.4.2") == 101
    # Over TLS they are gone before the handshake has cost anything.
    before = cpu(s.wsgate.pid)
    gone = sum(first_bytes(s.also["tls"], client_hello(), "127.0.4.1") == b"" for _ in range(50))
    assert gone >= 35
    used = cpu(s.wsgate.pid) - before
    until(lambda: status_of(s.port, good_head(), "127.0.4.1") == 101, 2)
    outcome(
        f"rate 5/s: {accepted} of 30 at once get in, others are not affected; "
        f"50 TLS clients, {gone} refused, cost {used * 1e3:.0f} ms of CPU"
    )


# -- D9


@pytest.mark.case("D9")
def test_frames_sent_with_the_handshake_are_read_after_it_and_in_order(stages, outcome):
    s = stages.scripted(**QUICK)
    frames = b"".join(RawClient.frame(None, 1, b"early %d" % number) for number in range(10))
    with socket.create_connection(("127.0.0.1", s.port), 10) as connection:
        connection.sendall(good_head() + frames)
        answer = b""
        while answer.count(b"early") < 10:
            answer += connection.recv(65536)
        assert answer.startswith(b"HTTP/1.1 101 ")
        order = answer.partition(b"\r\n\r\n")[2]
    assert order == b"".join(b"\x81\x07early %d" % number for number in range(10))
    outcome("10 messages in the packet of the handshake: answered in order")


@pytest.mark.case("D9")
def test_a_second_request_behind_the_handshake_is_no_request(stages, outcome):
    s = stages.scripted(**QUICK)
    before = len(s.peer.requests)
    with socket.create_connection(("127.0.0.1", s.port), 10) as connection:
        connection.sendall(good_head() + good_head())
        answer = b""
        while data := connection.recv(65536):
            answer += data
            if b"\x88" in answer:
                break
    assert answer.count(b"HTTP/1.1 ") == 1
    assert b"\x03\xea" in answer, "closed with 1002"
    assert len(s.peer.requests) == before
    outcome(
        "a second request: 1002. There is no connect event yet, so no handshake is ever pending"
    )
