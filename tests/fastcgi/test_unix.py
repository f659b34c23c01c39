"""wsgate.fastcgi.unix: real UNIX sockets, connected and written at once."""

import errno
import os
import shutil
import socket
import tempfile

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectError, ConnectionDone
from twisted.internet.protocol import Factory, Protocol
from twisted.trial.unittest import TestCase

from wsgate.fastcgi.unix import UNIXEndpoint


class Collector(Protocol):
    """Remembers what came, and fires when the other end closes."""

    def __init__(self):
        self.received = bytearray()
        self.lost = Deferred()
        self.enough = Deferred()
        self.wanted = None

    def when_received(self, size):
        self.wanted = size
        return self.enough

    def dataReceived(self, data):
        self.received += data
        if self.wanted is not None and len(self.received) >= self.wanted:
            self.wanted = None
            self.enough.callback(None)

    def connectionLost(self, reason):
        self.lost.callback(reason.value)


class UNIXEndpointTests(TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, self.folder)
        self.path = os.path.join(self.folder, "s")

    def listen(self, backlog=5):
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(self.path)
        listener.listen(backlog)
        self.addCleanup(listener.close)
        return listener

    def connect(self, protocol=None):
        protocol = protocol or Collector()
        endpoint = UNIXEndpoint(reactor, lambda: self.path)
        return endpoint.connect(Factory.forProtocol(lambda: protocol))

    def error(self):
        failure = self.failureResultOf(self.connect(), ConnectError)
        return failure.value.osError

    def test_a_missing_socket_fails_at_once(self):
        self.assertEqual(self.error(), errno.ENOENT)

    def test_a_socket_nobody_listens_on_fails_at_once(self):
        self.listen().close()
        self.assertEqual(self.error(), errno.ECONNREFUSED)

    def test_a_full_queue_of_connections_fails_at_once_as_busy(self):
        self.listen(backlog=0)
        first = self.successResultOf(self.connect())
        self.assertEqual(self.error(), errno.EAGAIN)
        first.transport.abortConnection()

    def test_a_path_too_long_for_a_socket_is_a_connect_error(self):
        self.path = "/" + "x" * 200
        self.failureResultOf(self.connect(), ConnectError)

    async def test_data_longer_than_the_socket_takes_arrives_whole_and_in_order(self):
        listener = self.listen()
        client = self.successResultOf(self.connect())
        server, _ = listener.accept()
        accepted = Collector()
        reactor.adoptStreamConnection(
            server.fileno(), socket.AF_UNIX, Factory.forProtocol(lambda: accepted)
        )
        server.close()
        data = bytes(range(256)) * 12_000
        client.transport.write(data)
        client.transport.write(b"the end")
        await accepted.when_received(len(data) + 7)
        self.assertEqual(bytes(accepted.received), data + b"the end")
        accepted.transport.write(b"answer")
        await client.when_received(6)
        self.assertEqual(bytes(client.received), b"answer")
        accepted.transport.loseConnection()
        self.assertIsInstance(await client.lost, ConnectionDone)
        await accepted.lost

    async def test_an_abort_closes_at_once_and_later_calls_do_nothing(self):
        listener = self.listen()
        client = self.successResultOf(self.connect())
        server, _ = listener.accept()
        self.addCleanup(server.close)
        client.transport.abortConnection()
        client.transport.abortConnection()
        client.transport.write(b"too late")
        self.successResultOf(client.lost)
        self.assertEqual(server.recv(10), b"")

    def test_a_factory_that_wants_no_connection_any_more_gets_none(self):
        listener = self.listen()
        factory = Factory()
        factory.buildProtocol = lambda _: None
        endpoint = UNIXEndpoint(reactor, lambda: self.path)
        self.failureResultOf(endpoint.connect(factory), ConnectError)
        server, _ = listener.accept()
        self.addCleanup(server.close)
        self.assertEqual(server.recv(10), b"")
