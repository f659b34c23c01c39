"""wsgate.control.http: the interface as bytes, its limits each at the bound and one past it."""

import json
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.logger import globalLogPublisher

from wsgate.control import http
from wsgate.control.answers import Endpoint, told
from wsgate.control.http import ControlFactory

TOKEN = b"0123456789abcdef"
GET = b"GET /it HTTP/1.1\r\nHost: x\r\n\r\n"


class Transport(StringTransport):
    aborted = False

    def abortConnection(self):
        self.aborted = True
        self.loseConnection()


class Interface:
    """A factory with one endpoint, and what it asked of its port."""

    def __init__(self, token=None, action=lambda asked: told(200, len(asked.body))):
        self.clock = Clock()
        self.pauses = []
        endpoints = [Endpoint(("it",), {"GET": action, "POST": action})]
        self.factory = ControlFactory(self.clock, endpoints, token, self.pauses.append)

    def connect(self):
        channel = self.factory.buildProtocol(None)
        if channel is None:
            return None
        channel.makeConnection(Transport())
        return channel

    def ask(self, data):
        """What one connection answers, and whether it was closed."""
        channel = self.connect()
        channel.dataReceived(data)
        return channel.transport.value(), channel.transport.disconnecting


def lose(channel):
    from twisted.internet.error import ConnectionDone
    from twisted.python.failure import Failure

    channel.connectionLost(Failure(ConnectionDone()))


def read(answer):
    head, _, body = answer.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
    return int(first.split()[1]), headers, json.loads(body) if body else None


@pytest.fixture
def interface():
    return Interface()


def test_an_answer_is_json_with_its_length_and_is_not_kept(interface):
    answer, closed = interface.ask(GET)
    status, headers, body = read(answer)
    assert (status, body, closed) == (200, 0, False)
    assert headers == {
        "server": "wsgate",
        "content-type": "application/json",
        "content-length": "2",
        "cache-control": "no-store",
        "x-content-type-options": "nosniff",
    }


def test_head_gets_the_header_alone(interface):
    status, headers, body = read(interface.ask(GET.replace(b"GET", b"HEAD"))[0])
    assert (status, headers["content-length"], body) == (200, "2", None)


@pytest.mark.parametrize("extra", [b"?a=b", b"?token=secret&%00"])
def test_a_query_changes_nothing(interface, extra):
    assert read(interface.ask(GET.replace(b"/it", b"/it" + extra))[0])[0] == 200


def test_several_requests_on_one_connection_are_answered_in_order(interface):
    answer, closed = interface.ask(GET + GET.replace(b"/it", b"/no") + GET)
    assert re.findall(rb"HTTP/1.1 (\d+)", answer) == [b"200", b"404", b"200"]
    assert not closed


@settings(max_examples=60)
@given(st.lists(st.integers(0, 140), max_size=8))
def test_any_split_of_the_requests_gives_the_same(cuts):
    both = b"POST /it HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc" + GET + b"GET /no HTTP/1.1\r\n\r\n"
    whole, _ = Interface().ask(both)
    interface = Interface()
    channel = interface.connect()
    last = 0
    for cut in [*sorted(cuts), len(both)]:
        channel.dataReceived(both[last:cut])
        last = max(last, cut)
    assert channel.transport.value() == whole


# -- who may ask


def test_with_a_token_nobody_gets_anything_without_it():
    interface = Interface(TOKEN)
    for path in (b"/it", b"/no", b"/healthz"):
        answer, closed = interface.ask(GET.replace(b"/it", path))
        status, headers, body = read(answer)
        assert (status, closed) == (401, True)
        assert headers["www-authenticate"] == 'Bearer realm="wsgate"'
        assert headers["connection"] == "close"
        assert body["error"]["status"] == 401
    allowed = GET.replace(b"Host", b"Authorization: Bearer " + TOKEN + b"\r\nHost")
    assert read(interface.ask(allowed)[0])[0] == 200


def test_a_stranger_is_refused_before_a_body_is_read():
    called = []
    interface = Interface(TOKEN, called.append)
    answer, closed = interface.ask(
        b"POST /it HTTP/1.1\r\nContent-Length: 10\r\nExpect: 100-continue\r\n\r\n"
    )
    assert answer.startswith(b"HTTP/1.1 401 ")
    assert (closed, called) == (True, [])


def test_what_a_refused_one_sends_on_is_not_read_as_a_request():
    interface = Interface(TOKEN)
    smuggled = GET.replace(b"Host", b"Authorization: Bearer " + TOKEN + b"\r\nHost")
    answer, _ = interface.ask(b"POST /it HTTP/1.1\r\nContent-Length: 0\r\n\r\n" + smuggled)
    assert answer.count(b"HTTP/1.1") == 1


# -- sizes


def test_a_body_has_an_end(interface):
    def post(length):
        head = b"POST /it HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % length
        return read(interface.ask(head + b"x" * min(length, http.MAX_BODY))[0])

    assert post(http.MAX_BODY)[2] == http.MAX_BODY
    assert post(http.MAX_BODY + 1)[0] == 413
    assert post(10**30)[0] == 413


def test_a_body_of_unknown_length_is_refused(interface):
    answer, closed = interface.ask(b"POST /it HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx")
    assert read(answer)[0] == 411
    assert closed


def test_a_header_has_an_end(interface):
    def get(size):
        line = GET.partition(b"\r\n")[0]
        filler = b"X: " + b"x" * (size - len(line) - 3)
        return interface.ask(line + b"\r\n" + filler + b"\r\n\r\n")

    assert read(get(http.MAX_HEADER)[0])[0] == 200
    answer, closed = get(http.MAX_HEADER + 1)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert closed


def test_a_header_without_end_is_not_kept(interface):
    channel = interface.connect()
    for _ in range(100):
        channel.dataReceived(b"x" * 1024)
        if channel.transport.disconnecting:
            break
    assert channel.transport.disconnecting
    assert len(channel._buffer) <= 64 * 1024


@pytest.mark.parametrize(
    "data",
    [
        b"\r\n\r\n\r\n",
        b"GET\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01",
        b"GET /it HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"GET /it HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"GET /it HTTP/1.1\r\nHost : x\r\n\r\n",
        b"GET /it HTTP/1.1\r\nX: \x00\r\n\r\n",
    ],
)
def test_what_is_no_request_is_never_answered_as_one(interface, data):
    answer, _ = interface.ask(data)
    assert not answer.startswith(b"HTTP/1.1 200")


# -- times


def test_a_request_has_to_come_in_time(interface):
    channel = interface.connect()
    for byte in GET[: int(http.REQUEST_TIMEOUT) - 1]:
        interface.clock.advance(1.0)
        channel.dataReceived(bytes([byte]))
    interface.clock.advance(0.99)
    assert not channel.transport.aborted
    interface.clock.advance(0.01)
    assert channel.transport.aborted


def test_the_next_request_has_as_much_time_again(interface):
    channel = interface.connect()
    for _ in range(5):
        interface.clock.advance(http.REQUEST_TIMEOUT - 1)
        channel.dataReceived(GET)
    assert not channel.transport.aborted
    assert channel.transport.value().count(b"200 OK") == 5


def test_an_idle_connection_is_closed(interface):
    channel = interface.connect()
    channel.dataReceived(GET)
    interface.clock.advance(http.IDLE_TIMEOUT - 0.01)
    assert not channel.transport.aborted
    interface.clock.advance(0.01)
    assert channel.transport.aborted


def test_an_answer_that_nobody_takes_does_not_keep_a_closed_connection(interface):
    channel = interface.connect()
    channel.dataReceived(GET.replace(b"Host", b"Connection: close\r\nHost"))
    assert channel.transport.disconnecting
    interface.clock.advance(http.REQUEST_TIMEOUT)
    assert channel.transport.aborted


def test_a_lost_connection_leaves_no_timer(interface):
    for data in (b"", b"GET", GET, GET.replace(b"Host", b"Connection: close\r\nHost")):
        channel = interface.connect()
        channel.dataReceived(data)
        lose(channel)
    interface.factory.stopFactory()
    assert interface.clock.getDelayedCalls() == []
    assert interface.factory.connections == set()


# -- floods


def test_there_are_so_many_connections_and_no_more(interface):
    channels = [interface.connect() for _ in range(http.MAX_CONNECTIONS)]
    assert interface.connect() is None
    lose(channels.pop())
    assert interface.connect() is not None


def test_more_new_connections_in_a_second_wait_in_the_kernel(interface):
    for _ in range(http.PER_SECOND - 1):
        lose(interface.connect())
    assert interface.pauses == []
    lose(interface.connect())
    assert interface.pauses == [True]
    # One that was accepted in the same turn is still served.
    lose(interface.connect())
    interface.clock.advance(0.99)
    assert interface.pauses == [True]
    interface.clock.advance(0.01)
    assert interface.pauses == [True, False]
    interface.clock.advance(10.0)
    assert interface.pauses == [True, False]


def test_more_requests_in_a_second_end_their_connection(interface):
    channel = interface.connect()
    channel.dataReceived(GET * (http.PER_SECOND - 1))
    assert not channel.transport.disconnecting
    channel.dataReceived(GET * 10)
    assert channel.transport.disconnecting
    answer = channel.transport.value()
    assert answer.count(b"HTTP/1.1 200 OK") == http.PER_SECOND
    assert answer.count(b"Connection: close") == 1


def test_the_next_second_is_a_new_one(interface):
    channel = interface.connect()
    for _ in range(3):
        channel.dataReceived(GET * (http.PER_SECOND - 1))
        interface.clock.advance(1.0)
    assert not channel.transport.disconnecting


# -- faults


def test_an_error_of_ours_is_500_and_one_line_without_the_clients_text():
    def broken(asked):
        raise ValueError("ours")

    seen = []
    globalLogPublisher.addObserver(seen.append)
    try:
        answer, _ = Interface(action=broken).ask(GET.replace(b"/it", b"/it?secret=1"))
    finally:
        globalLogPublisher.removeObserver(seen.append)
    assert read(answer)[2] == {"error": {"status": 500, "reason": "internal error"}}
    (event,) = seen
    assert event["path"] == "/it"
    assert "secret" not in str(event)


def test_answers_are_counted_by_status(interface):
    interface.ask(GET + GET + GET.replace(b"/it", b"/no"))
    assert interface.factory.statuses == {200: 2, 404: 1}
