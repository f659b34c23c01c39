"""wsgate.fastcgi.protocol: transport, timeout, and the order of telling."""

from twisted.internet.address import UNIXAddress
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IProtocol, IProtocolFactory
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from zope.interface.verify import verifyObject

from tests.fastcgi.fakes import REQUEST, FakeEndpoint, Outcome, answer, end, stderr, stdout
from wsgate.fastcgi import (
    Backend,
    PoolLimits,
    ProtocolError,
    Response,
    ResponseCutOff,
    ResponseNeverReceived,
    ResponseTimeout,
    ResponseTooLarge,
)
from wsgate.fastcgi.protocol import FastCGIProtocol
from wsgate.fastcgi.records import RecordDecoder
from wsgate.timeouts import Timeouts


class RecordingOwner:
    stopped = False

    def __init__(self, keep_connections=True):
        self.limits = PoolLimits(
            keep_connections=keep_connections, write_timeout=4.0, max_answer_size=100
        )
        self.clock = Clock()
        self.timeouts = Timeouts(self.clock)
        self.told = []

    def connected(self, _protocol):
        self.told.append("connected")

    def answered(self, _protocol, reusable):
        self.told.append(("answered", reusable))

    def failed(self, _protocol, error):
        self.told.append(("failed", type(error)))

    def idle_lost(self, _protocol):
        self.told.append("idle_lost")

    def finish_stop(self):
        self.told.append("finish_stop")


class Conversation:
    """A connected protocol, with a request under way if `send`."""

    def __init__(self, send=True, keep_connections=True, stopped=False):
        self.owner = RecordingOwner(keep_connections)
        self.owner.stopped = stopped
        self.protocol = FastCGIProtocol(self.owner, Backend("app", FakeEndpoint()))
        self.transport = StringTransport()
        self.protocol.makeConnection(self.transport)
        self.deferred = Deferred()
        if send:
            self.protocol.send(REQUEST, self.deferred)
        # Not told "fired" before its owner: the order is what is tested.
        self.deferred.addBoth(self._fired)
        self.outcome = Outcome(self.deferred)

    def _fired(self, result):
        self.owner.told.append("fired")
        return result

    @property
    def told(self):
        return self.owner.told[1:]

    @property
    def aborted(self):
        return self.transport.disconnected


def test_it_is_a_protocol_and_its_own_factory():
    protocol = FastCGIProtocol(RecordingOwner(), Backend("app", FakeEndpoint()))
    verifyObject(IProtocol, protocol)
    verifyObject(IProtocolFactory, protocol)
    protocol.doStart()
    assert protocol.buildProtocol(UNIXAddress("/fake")) is protocol
    protocol.doStop()


def test_it_serves_one_connection_only():
    conversation = Conversation()
    assert conversation.protocol.buildProtocol(UNIXAddress("/fake")) is None


def test_a_request_is_written_at_once_and_in_one_piece():
    conversation = Conversation()
    records = RecordDecoder().feed(conversation.transport.value())
    assert [r.type for r in records] == [1, 4, 5, 5]


def test_the_connection_is_given_back_before_the_caller_is_told():
    conversation = Conversation()
    conversation.protocol.dataReceived(answer(b"text"))
    assert conversation.told == [("answered", True), "fired"]
    assert conversation.outcome.result == Response(b"text", b"", 0)
    assert not conversation.aborted


def test_an_answer_in_pieces_is_told_once():
    conversation = Conversation()
    for byte in stderr(b"e") + answer(b"text"):
        conversation.protocol.dataReceived(bytes([byte]))
    assert conversation.told == [("answered", True), "fired"]
    assert conversation.outcome.result == Response(b"text", b"e", 0)


def test_a_connection_that_is_not_kept_is_given_back_as_not_reusable():
    conversation = Conversation(keep_connections=False)
    conversation.protocol.dataReceived(answer())
    assert conversation.told == [("answered", False), "fired"]


def test_bytes_after_the_answer_make_it_not_reusable():
    conversation = Conversation()
    conversation.protocol.dataReceived(answer(b"text") + b"x")
    assert conversation.told == [("answered", False), "fired"]
    assert conversation.protocol.surplus
    assert conversation.outcome.result == Response(b"text", b"", 0)


def test_a_violation_aborts_before_anyone_is_told():
    conversation = Conversation()
    conversation.protocol.dataReceived(stderr(b"why") + b"HTTP/1.1")
    assert conversation.told == [("failed", ProtocolError), "fired"]
    assert conversation.aborted
    error = conversation.outcome.error
    assert (error.backend, error.stderr) == ("app", b"why")


def test_too_large_an_answer_aborts():
    conversation = Conversation()
    conversation.protocol.dataReceived(answer(bytes(101)))
    assert conversation.told == [("failed", ResponseTooLarge), "fired"]
    assert conversation.aborted


def test_no_answer_in_time_aborts_never_early():
    conversation = Conversation()
    conversation.owner.clock.advance(29.9)
    conversation.protocol.dataReceived(stdout(b"slow") + stderr(b"why"))
    assert conversation.told == []
    conversation.owner.clock.advance(0.21)
    assert conversation.told == [("failed", ResponseTimeout), "fired"]
    assert conversation.aborted
    assert conversation.outcome.error.stderr == b"why"


def test_what_comes_after_a_timeout_is_dropped():
    conversation = Conversation()
    conversation.owner.clock.advance(30.1)
    conversation.protocol.dataReceived(answer())
    conversation.protocol.connectionLost(None)
    assert conversation.told == [("failed", ResponseTimeout), "fired"]


def test_an_answer_in_time_is_followed_by_no_timeout():
    conversation = Conversation()
    conversation.protocol.dataReceived(answer())
    conversation.owner.clock.advance(60)
    assert conversation.told == [("answered", True), "fired"]
    assert len(conversation.owner.timeouts) == 0


def test_each_request_of_a_connection_has_the_whole_time_and_no_more():
    conversation = Conversation()
    clock = conversation.owner.clock
    clock.advance(20)
    conversation.protocol.dataReceived(answer())
    conversation.protocol.send(REQUEST, Deferred())
    clock.advance(29.9)
    assert conversation.told == [("answered", True), "fired"]
    second = conversation.protocol._turn
    second.addErrback(lambda _: None)
    clock.advance(0.2)
    assert conversation.told == [("answered", True), "fired", ("failed", ResponseTimeout)]


def test_a_shorter_time_holds_from_the_next_request_on():
    conversation = Conversation()
    conversation.protocol.dataReceived(answer())
    conversation.owner.limits = PoolLimits(response_timeout=5.0)
    outcome = Outcome(Deferred())
    conversation.protocol.send(REQUEST, outcome.deferred)
    conversation.owner.clock.advance(5.2)
    assert isinstance(outcome.error, ResponseTimeout)


def test_closing_leaves_no_timer():
    conversation = Conversation()
    conversation.protocol.dataReceived(answer())
    conversation.protocol.close()
    assert len(conversation.owner.timeouts) == 0


def test_a_loss_with_nothing_back_is_response_never_received():
    conversation = Conversation()
    conversation.protocol.connectionLost(None)
    assert conversation.told == [("failed", ResponseNeverReceived), "fired"]
    assert conversation.outcome.error.backend == "app"
    assert len(conversation.owner.timeouts) == 0


def test_a_loss_before_end_request_is_response_cut_off():
    conversation = Conversation()
    conversation.protocol.dataReceived(stderr(b"why") + stdout(b"half") + end()[:15])
    conversation.protocol.connectionLost(None)
    assert conversation.told == [("failed", ResponseCutOff), "fired"]
    assert conversation.outcome.error.stderr == b"why"


def test_an_idle_connection_that_ends_is_told_to_the_owner_alone():
    conversation = Conversation(send=False)
    conversation.protocol.connectionLost(None)
    assert conversation.told == ["idle_lost"]


def test_bytes_while_idle_close_the_connection():
    conversation = Conversation(send=False)
    conversation.protocol.dataReceived(stdout(b"late"))
    assert conversation.told == ["idle_lost"]
    assert conversation.aborted


def test_closing_is_silent_and_may_be_repeated():
    conversation = Conversation(send=False)
    conversation.protocol.close()
    conversation.protocol.close()
    conversation.protocol.connectionLost(None)
    assert conversation.told == []
    assert conversation.aborted


def test_a_connection_that_opens_after_it_was_given_up_is_aborted():
    owner = RecordingOwner()
    protocol = FastCGIProtocol(owner, Backend("app", FakeEndpoint()))
    protocol.close()
    assert protocol.buildProtocol(UNIXAddress("/fake")) is None
    transport = StringTransport()
    protocol.makeConnection(transport)
    protocol.connectionLost(None)
    assert transport.disconnected
    assert owner.told == []


def test_small_writes_are_not_delayed_by_tcp():
    owner = RecordingOwner()
    protocol = FastCGIProtocol(owner, Backend("app", FakeEndpoint()))
    transport = StringTransport()
    transport.setTcpNoDelay = lambda on: owner.told.append(("no delay", on))
    protocol.makeConnection(transport)
    assert owner.told == [("no delay", True), "connected"]


def test_a_caller_that_has_cancelled_is_not_told_and_nothing_breaks():
    for data, told in ((answer(), ("answered", True)), (b"x", ("failed", ProtocolError))):
        conversation = Conversation()
        conversation.deferred.cancel()
        assert not conversation.aborted
        conversation.protocol.dataReceived(data)
        assert conversation.told == ["fired", told]


def test_the_owner_that_stops_is_asked_after_the_caller_was_told():
    for data in (answer(), b"x"):
        conversation = Conversation(stopped=True)
        conversation.protocol.dataReceived(data)
        assert conversation.told[1:] == ["fired", "finish_stop"]
