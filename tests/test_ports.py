"""wsgate.ports: what a bound port passes on to its connections."""

import socket

import pytest
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import serverFromString
from twisted.internet.protocol import Factory, Protocol
from twisted.trial.unittest import TestCase

from wsgate.ports import StartFailed, bind


class Server(Protocol):
    def __init__(self):
        self.made = Deferred()
        self.lost = Deferred()

    def connectionMade(self):
        self.made.callback(None)

    def connectionLost(self, reason):
        self.lost.callback(None)


class BindTests(TestCase):
    async def test_accepted_connections_send_without_delay(self):
        server = Server()
        description = "tcp:0:interface=127.0.0.1"
        endpoint = serverFromString(reactor, description)
        port = bind(description, endpoint, Factory.forProtocol(lambda: server))
        self.addCleanup(port.stopListening)
        client = socket.create_connection(("127.0.0.1", port.getHost().port))
        await server.made
        self.assertTrue(server.transport.getTcpNoDelay())
        client.close()
        await server.lost

    def test_a_port_that_is_taken_is_one_line(self):
        with socket.create_server(("127.0.0.1", 0)) as taken:
            description = f"tcp:{taken.getsockname()[1]}:interface=127.0.0.1"
            endpoint = serverFromString(reactor, description)
            with pytest.raises(StartFailed, match="cannot listen there: Address already in use"):
                bind(description, endpoint, Factory())
        self.flushLoggedErrors()
