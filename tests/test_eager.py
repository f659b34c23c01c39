"""wsgate.eager: what is written arrives whole and in order, at once where it can."""

import shutil
import socket
import tempfile

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IPushProducer
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase
from zope.interface import implementer

from wsgate.eager import EagerTCPServer, EagerUNIXServer, write_eagerly


@implementer(IPushProducer)
class Server(Protocol):
    def __init__(self):
        self.connected_ = Deferred()
        self.lost = Deferred()
        self.resumed = Deferred()
        self.paused = False

    def connectionMade(self):
        self.connected_.callback(self)

    def connectionLost(self, reason):
        self.lost.callback(reason.value)

    def pauseProducing(self):
        self.paused = True

    def resumeProducing(self):
        self.resumed.callback(None)

    def stopProducing(self):
        pass


class EagerTests(TestCase):
    async def accept(self):
        """A connection of an eager port, and a plain blocking client socket of it."""
        self.server = Server()
        port = reactor.listenTCP(0, Factory.forProtocol(lambda: self.server), interface="127.0.0.1")
        write_eagerly(port)
        self.addCleanup(port.stopListening)
        client = socket.create_connection(("127.0.0.1", port.getHost().port))
        self.addCleanup(client.close)
        await self.server.connected_
        self.addCleanup(lambda: self.server.lost)
        self.addCleanup(lambda: self.server.transport.abortConnection())
        self.assertIsInstance(self.server.transport, EagerTCPServer)
        return self.server.transport, client

    async def read(self, client, size):
        """Read `size` bytes while the reactor goes on."""
        client.setblocking(False)
        data = bytearray()
        while len(data) < size:
            try:
                data += client.recv(size - len(data))
            except BlockingIOError:
                await deferLater(reactor, 0)
        return bytes(data)

    async def test_a_short_write_is_sent_within_the_call(self):
        transport, client = await self.accept()
        transport.write(b"now")
        client.settimeout(5)
        self.assertEqual(client.recv(10), b"now")
        self.assertEqual(reactor.getWriters(), [])

    async def test_pieces_are_sent_in_one_write(self):
        transport, client = await self.accept()
        transport.writeSequence([b"a", b"b", b"c"])
        client.settimeout(5)
        self.assertEqual(client.recv(10), b"abc")

    async def test_more_than_the_socket_takes_arrives_whole_and_in_order(self):
        transport, client = await self.accept()
        data = bytes(range(256)) * 80_000
        transport.write(data)
        transport.write(b"behind it")
        self.assertEqual(await self.read(client, len(data) + 9), data + b"behind it")
        transport.write(b"and on")
        self.assertEqual(await self.read(client, 6), b"and on")

    async def test_a_producer_is_paused_by_what_the_socket_does_not_take_and_resumed_after(self):
        transport, client = await self.accept()
        transport.registerProducer(self.server, True)
        transport.write(b"x" * 20_000_000)
        self.assertTrue(self.server.paused)
        await self.read(client, 20_000_000)
        await self.server.resumed
        transport.unregisterProducer()

    async def test_closing_after_a_long_write_loses_nothing(self):
        transport, client = await self.accept()
        transport.write(b"x" * 5_000_000)
        transport.loseConnection()
        self.assertEqual(len(await self.read(client, 5_000_000)), 5_000_000)
        await self.server.lost
        client.setblocking(True)
        self.assertEqual(client.recv(1), b"")

    async def test_a_write_after_the_end_of_writing_is_dropped_and_ends_nothing(self):
        transport, client = await self.accept()
        transport.write(b"last")
        transport.loseWriteConnection()
        while not transport._writeDisconnected:
            await deferLater(reactor, 0)
        transport.write(b"late")
        self.assertEqual(reactor.getWriters(), [])
        self.assertEqual(await self.read(client, 4), b"last")
        client.setblocking(True)
        client.settimeout(5)
        self.assertEqual(client.recv(1), b"")
        self.assertFalse(self.server.lost.called)

    async def test_a_write_to_a_client_that_left_ends_the_connection_outside_the_call(self):
        transport, client = await self.accept()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
        client.close()
        transport.write(b"x")
        transport.write(b"y")
        self.assertFalse(self.server.lost.called)
        await self.server.lost

    async def test_a_unix_port_is_eager_too(self):
        server = Server()
        folder = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, folder)
        path = f"{folder}/s"
        port = reactor.listenUNIX(path, Factory.forProtocol(lambda: server))
        write_eagerly(port)
        self.addCleanup(port.stopListening)
        client = socket.socket(socket.AF_UNIX)
        self.addCleanup(client.close)
        client.connect(path)
        await server.connected_
        self.assertIsInstance(server.transport, EagerUNIXServer)
        server.transport.write(b"hi")
        client.settimeout(5)
        self.assertEqual(client.recv(10), b"hi")
        client.close()
        await server.lost
