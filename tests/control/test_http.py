"""wsgate.control.http: the interface as bytes, its limits each at the bound and one past it."""

import json
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import ISSLTransport
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.logger import globalLogPublisher
from zope.interface import directlyProvides

from wsgate.channels import BusAway, BusError, BusUnanswered
from wsgate.control import factory, http
from wsgate.control.answers import Endpoint, Refusal, told
from wsgate.control.factory import ControlFactory, ControlLimits
from wsgate.control.turns import Turns

TOKEN = b"0123456789abcdef"
LIMITS = ControlLimits(max_body=1000, connections=20, share=0.002)
GET = b"GET /it HTTP/1.1\r\nHost: x\r\n\r\n"


class Transport(StringTransport):
    aborted = False
    half_closed = False

    def abortConnection(self):
        self.aborted = True
        self.loseConnection()

    def loseWriteConnection(self):
        self.half_closed = True


class Interface:
    """A factory with one endpoint; requests take as long as is added to `now`."""

    now = 0.0

    def __init__(
        self,
        token=None,
        action=lambda asked: told(200, len(asked.body)),
        limits=LIMITS,
    ):
        self.clock = Clock()
        endpoints = [Endpoint(("it",), {"GET": action, "POST": action})]
        self.factory = ControlFactory(self.clock, endpoints, token, limits)
        self.factory.turns = Turns(self.clock, limits.share, lambda: self.now)

    def turn(self):
        """One turn of the reactor: `Clock` would go on until nothing is left."""
        due = [call for call in self.clock.calls if call.time <= self.clock.seconds()]
        for call in due:
            self.clock.calls.remove(call)
            call.called = 1
            call.func(*call.args, **call.kw)

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
        closed = channel.transport.disconnecting or channel.transport.half_closed
        return channel.transport.value(), closed


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
        return read(interface.ask(head + b"x" * min(length, LIMITS.max_body))[0])

    assert post(LIMITS.max_body)[2] == LIMITS.max_body
    assert post(LIMITS.max_body + 1)[0] == 413
    assert post(10**30)[0] == 413


def test_who_sends_too_long_a_body_gets_to_read_the_answer(interface):
    channel = interface.connect()
    transport = channel.transport
    channel.dataReceived(b"POST /it HTTP/1.1\r\nContent-Length: %d\r\n\r\nx" % 10**9)
    assert read(transport.value())[0] == 413
    assert (transport.half_closed, transport.disconnecting) == (True, False)
    channel.dataReceived(b"x" * (http.MAX_DISCARDED - 1))
    assert transport.producerState == "producing"
    assert not transport.aborted
    channel.dataReceived(b"x")
    assert transport.aborted


def test_over_tls_the_end_is_left_to_tls(interface):
    channel = interface.connect()
    directlyProvides(channel.transport, ISSLTransport)
    channel.dataReceived(b"POST /it HTTP/1.1\r\nContent-Length: %d\r\n\r\nx" % 10**9)
    assert (channel.transport.half_closed, channel.transport.disconnecting) == (False, True)


def test_a_refused_body_is_not_waited_for_for_ever(interface):
    channel = interface.connect()
    channel.dataReceived(b"POST /it HTTP/1.1\r\nContent-Length: 1001\r\n\r\n")
    for _ in range(int(http.REQUEST_TIMEOUT)):
        assert not channel.transport.aborted
        channel.dataReceived(b"x")
        interface.clock.advance(1.0)
    assert channel.transport.aborted


def test_a_compressed_body_is_refused(interface):
    answer, _ = interface.ask(
        b"POST /it HTTP/1.1\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc"
    )
    status, headers, _ = read(answer)
    assert (status, headers["accept-encoding"]) == (415, "identity")


@pytest.mark.parametrize("coding", [b"chunked", b"identity", b"identity\r\nContent-Length: 4"])
def test_a_body_of_unknown_length_is_refused(interface, coding):
    head = b"POST /it HTTP/1.1\r\nTransfer-Encoding: " + coding
    answer, closed = interface.ask(head + b"\r\n\r\n1\r\nx")
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
    if answer:
        assert read(answer)[2]["error"]["status"] == 400


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
    interface.clock.advance(factory.IDLE_TIMEOUT - 0.01)
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
    interface.factory.close()
    assert interface.clock.getDelayedCalls() == []
    assert interface.factory.connections == set()


# -- floods


def slow(interface, seconds):
    """Let every request take so long, by the watch that measures them."""

    def action(asked):
        interface.now += seconds
        return told(200, len(asked.body))

    interface.factory.endpoints = [Endpoint(("it",), {"GET": action})]


def answers(channel):
    return channel.transport.value().count(b"HTTP/1.1 200 OK")


def test_requests_get_a_share_of_a_turn_and_the_others_the_next_ones(interface):
    slow(interface, 0.001)
    channel = interface.connect()
    channel.dataReceived(GET * 5)
    assert answers(channel) == 2
    interface.turn()
    assert answers(channel) == 4
    interface.turn()
    assert answers(channel) == 5
    assert not channel.transport.disconnecting


def test_one_that_takes_longer_than_a_share_is_done_all_the_same(interface):
    slow(interface, 1.0)
    channel = interface.connect()
    channel.dataReceived(GET * 3)
    for number in (1, 2, 3):
        assert answers(channel) == number
        interface.turn()


def test_connections_take_turns(interface):
    slow(interface, 0.002)
    first, second = interface.connect(), interface.connect()
    first.dataReceived(GET * 3)
    second.dataReceived(GET * 3)
    for expected in ((1, 0), (2, 0), (2, 1), (3, 1), (3, 2), (3, 3)):
        assert (answers(first), answers(second)) == expected
        interface.turn()


def test_who_left_while_waiting_for_a_turn_is_asked_nothing_more(interface):
    slow(interface, 0.002)
    first, second = interface.connect(), interface.connect()
    first.dataReceived(GET)
    second.dataReceived(GET)
    lose(second)
    interface.turn()
    assert (answers(first), answers(second)) == (1, 0)


def test_there_are_so_many_connections_and_no_more(interface):
    channels = [interface.connect() for _ in range(LIMITS.connections)]
    assert interface.factory.room() == 0
    assert interface.connect() is None
    lose(channels.pop())
    assert interface.factory.room() == 1
    assert interface.connect() is not None


def test_few_are_accepted_in_one_turn(interface):
    assert interface.factory.room() == factory.AT_ONCE


def test_a_connection_that_says_nothing_gives_way_the_longest_silent_first(interface):
    channels = [interface.connect() for _ in range(LIMITS.connections)]
    interface.clock.advance(factory.PATIENCE - 0.01)
    assert interface.connect() is None
    channels[0].dataReceived(GET)
    interface.clock.advance(0.01)
    assert interface.factory.room() == factory.AT_ONCE
    assert interface.connect() is not None
    assert [channel.transport.aborted for channel in channels[:3]] == [False, True, False]
    assert len(interface.factory.connections) == LIMITS.connections


def test_a_connection_that_waits_for_its_answer_does_not_give_way():
    interface = Interface(action=lambda asked: Deferred())
    for _ in range(LIMITS.connections):
        interface.connect().dataReceived(GET)
    interface.clock.advance(factory.PATIENCE)
    assert interface.factory.room() == 0
    assert interface.connect() is None


# -- answers that come later


def test_an_answer_may_come_later_and_the_next_request_waits_for_it():
    promised = []

    def action(asked):
        promised.append(Deferred())
        return promised[-1]

    channel = Interface(action=action).connect()
    channel.dataReceived(GET * 2)
    assert (len(promised), channel.transport.value()) == (1, b"")
    promised[0].callback(told(200, "first"))
    assert b'"first"' in channel.transport.value()
    promised[1].callback(told(200, "second"))
    assert b'"second"' in channel.transport.value()
    assert not channel.transport.disconnecting


def test_an_action_may_be_a_coroutine():
    async def action(asked):
        return told(200, "later")

    assert read(Interface(action=action).ask(GET)[0])[2] == "later"


def test_an_answer_that_does_not_come_in_time_is_504():
    cancelled = []
    interface = Interface(action=lambda asked: Deferred(cancelled.append))
    channel = interface.connect()
    channel.dataReceived(GET)
    interface.clock.advance(http.ANSWER_TIMEOUT - 0.01)
    assert channel.transport.value() == b""
    interface.clock.advance(0.01)
    status, _, body = read(channel.transport.value())
    assert (status, body["error"]["status"], len(cancelled)) == (504, 504, 1)
    assert not channel.transport.disconnecting


def test_who_left_before_the_answer_disturbs_nobody():
    promised = Deferred()
    interface = Interface(action=lambda asked: promised)
    channel = interface.connect()
    channel.dataReceived(GET)
    lose(channel)
    promised.callback(told(200, 1))
    assert channel.transport.value() == b""
    interface.clock.advance(0)
    assert interface.clock.getDelayedCalls() == []


@pytest.mark.parametrize("later", [True, False])
def test_an_action_may_refuse(later):
    def action(asked):
        if later:
            return fail(Refusal(409, "not now"))
        raise Refusal(409, "not now")

    answer, closed = Interface(action=action).ask(GET)
    assert read(answer)[2] == {"error": {"status": 409, "reason": "not now"}}
    assert not closed


@pytest.mark.parametrize(
    ("error", "status"), [(BusAway("away"), 503), (BusError("no"), 503), (BusUnanswered("?"), 504)]
)
def test_other_processes_that_cannot_be_asked_are_no_fault_of_ours(error, status):
    answer, closed = Interface(action=lambda asked: fail(error)).ask(GET)
    assert read(answer)[2] == {"error": {"status": status, "reason": str(error)}}
    assert not closed


# -- faults


def broken_now(asked):
    raise ValueError("ours")


def broken_later(asked):
    return fail(ValueError("ours"))


@pytest.mark.parametrize("action", [broken_now, broken_later])
def test_an_error_of_ours_is_500_and_one_line_without_the_clients_text(action):
    seen = []
    globalLogPublisher.addObserver(seen.append)
    try:
        answer, _ = Interface(action=action).ask(GET.replace(b"/it", b"/it?secret=1"))
    finally:
        globalLogPublisher.removeObserver(seen.append)
    assert read(answer)[2] == {"error": {"status": 500, "reason": "internal error"}}
    (event,) = seen
    assert event["path"] == "/it"
    assert "secret" not in str(event)


def test_answers_are_counted_by_status(interface):
    interface.ask(GET + GET + GET.replace(b"/it", b"/no"))
    assert interface.factory.statuses == {200: 2, 404: 1}


def test_a_path_may_accept_another_proof_than_the_token():
    interface = Interface(TOKEN)
    (it,) = interface.factory.endpoints
    interface.factory.endpoints = [it._replace(proof=lambda given: given == "Bearer mine")]
    get = "GET %s HTTP/1.1\r\nHost: x\r\n%s\r\n"
    mine = "Authorization: Bearer mine\r\n"
    for target, headers, status in [
        ("/it", mine, b"200"),
        ("/it?x=1", mine, b"200"),
        ("/it", f"Authorization: Bearer {TOKEN.decode()}\r\n", b"200"),
        ("/it", "Authorization: Bearer other\r\n", b"401"),
        ("/it", mine * 2, b"401"),
        ("/it", "", b"401"),
        ("/it/", mine, b"401"),
        ("/%zz", mine, b"401"),
        ("/other", mine, b"401"),
    ]:
        sent, _ = interface.ask((get % (target, headers)).encode())
        assert sent.split()[1] == status, (target, headers)


@pytest.mark.parametrize(
    ("token", "given", "may_all"),
    [(TOKEN, "mine", False), (TOKEN, TOKEN.decode(), True), (None, "mine", True), (None, "", True)],
)
def test_an_action_knows_by_which_proof_it_was_reached(token, given, may_all):
    interface = Interface(token, action=lambda asked: told(200, asked.may_all))
    (it,) = interface.factory.endpoints
    interface.factory.endpoints = [it._replace(proof=lambda given: given == "Bearer mine")]
    get = f"GET /it HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {given}\r\n\r\n"
    assert read(interface.ask(get.encode())[0])[2] is may_all
