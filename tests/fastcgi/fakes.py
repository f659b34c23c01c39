"""What the tests of this room share: records as an application sends them, and a fake network."""

from twisted.internet.address import UNIXAddress
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectError, ConnectionDone, ConnectionRefusedError
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from zope.interface import implementer

from wsgate.fastcgi import Backend, ConnectionPool, Lane, PoolLimits, Request

REQUEST = Request(b"", b"hello")


def record(type, content=b"", id=1, padding=0, version=1):
    """One record of any shape, also an illegal one."""
    header = bytes([version, type]) + id.to_bytes(2, "big") + len(content).to_bytes(2, "big")
    return header + bytes([padding, 0]) + content + bytes(padding)


def stdout(content, **shape):
    return record(6, content, **shape)


def stderr(content, **shape):
    return record(7, content, **shape)


def end(app_status=0, protocol_status=0, **shape):
    return record(3, app_status.to_bytes(4, "big") + bytes([protocol_status, 0, 0, 0]), **shape)


def answer(content=b"answer"):
    return stdout(content) + end()


def as_php_fpm_reports_a_full_backlog():
    """What Twisted makes of EAGAIN; the integration tests show that it really does."""
    return ConnectError(string=Failure(ConnectionDone()))


@implementer(IStreamClientEndpoint)
class FakeEndpoint:
    """An endpoint whose connections are accepted or refused by the test.

    `attempts` are those not yet decided; `transports` those accepted.
    """

    def __init__(self):
        self.attempts = []
        self.transports = []
        self.protocols = []
        self.cancelled = 0
        self.connects = 0
        self.always = None

    def connect(self, factory):
        self.connects += 1
        if self.always is not None:
            raise self.always
        deferred = Deferred(self._cancel)
        self.attempts.append((factory, deferred))
        return deferred

    def _cancel(self, deferred):
        self.cancelled += 1
        self.attempts = [attempt for attempt in self.attempts if attempt[1] is not deferred]

    def accept(self):
        """Let the oldest attempt succeed; its transport."""
        factory, deferred = self.attempts.pop(0)
        protocol = factory.buildProtocol(UNIXAddress("/fake"))
        transport = StringTransport()
        self.transports.append(transport)
        self.protocols.append(protocol)
        protocol.makeConnection(transport)
        deferred.callback(protocol)
        return transport

    def refuse(self, error=None):
        self.attempts.pop(0)[1].errback(error or ConnectionRefusedError("Connection refused"))

    def receive(self, data, index=-1):
        """Bytes from the application on one of the accepted connections."""
        self.protocols[index].dataReceived(data)

    def lose(self, index=-1):
        self.transports[index].disconnected = True
        self.protocols[index].connectionLost(Failure(ConnectionDone()))


class Outcome:
    """What a Deferred fired with: `result`, or `error` (an exception), or None for not yet."""

    def __init__(self, deferred):
        self.deferred = deferred
        self.result = None
        self.error = None
        deferred.addCallbacks(self._succeeded, self._failed)

    def _succeeded(self, result):
        self.result = result

    def _failed(self, failure):
        self.error = failure.value

    @property
    def pending(self):
        return not self.deferred.called


class Network:
    """A pool over fake backends and a fake clock."""

    def __init__(self, backends=1, **settings):
        self.clock = Clock()
        self.endpoints = [FakeEndpoint() for _ in range(backends)]
        self.backends = [
            Backend(f"backend {number}", endpoint) for number, endpoint in enumerate(self.endpoints)
        ]
        self.pool = ConnectionPool(self.clock, self.backends, PoolLimits(**settings))

    @property
    def endpoint(self):
        return self.endpoints[0]

    def request(self, stdin=b"hello", lane=Lane.MESSAGE):
        return Outcome(self.pool.request(Request(b"", stdin), lane))

    def sent(self, stdin):
        """How often a request with this body was sent."""
        return sum(
            transport.value().count(stdin)
            for endpoint in self.endpoints
            for transport in endpoint.transports
        )

    def advance(self, seconds, step=0.05):
        """Let time pass in steps as a reactor would."""
        for _ in range(round(seconds / step)):
            self.clock.advance(step)

    def check_accounts(self):
        pool = self.pool
        failed = sum(pool.errors.values())
        assert pool.requests == pool.responses + failed + pool.in_flight + pool.waiting
