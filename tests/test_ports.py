"""wsgate.ports: what a bound port passes on to its connections."""

import resource
import socket

import pytest
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import serverFromString
from twisted.internet.protocol import Factory, Protocol
from twisted.trial.unittest import TestCase

from wsgate.ports import StartFailed, bind, raise_file_limit, room_for_clients


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


@pytest.mark.parametrize(
    ("connections", "to_php", "files", "room"),
    [
        (10_000, 8, 10_520, 10_000),
        (10_000, 8, 10_519, 9_999),
        (10_000, 8, 1024, 760),
        (10_000, 100, 1024, 668),
        (10_000, 8, 200, 64),
        (10, 8, 200, 10),
        (10_000, 8, 50, 1),
    ],
)
def test_descriptors_are_kept_for_php_and_the_rest_is_for_clients(connections, to_php, files, room):
    assert room_for_clients(connections, to_php, files) == room


class Limit:
    """Stands for the process's limit on open files."""

    def __init__(self, monkeypatch, soft, hard):
        self.now = (soft, hard)
        monkeypatch.setattr(resource, "getrlimit", lambda _: self.now)
        monkeypatch.setattr(resource, "setrlimit", lambda _, limit: setattr(self, "now", limit))


def test_the_limit_is_raised_as_far_as_it_may_be(monkeypatch):
    limit = Limit(monkeypatch, 1024, 4096)
    assert raise_file_limit(1000, 8) == 1000
    assert limit.now == (1520, 4096)
    assert raise_file_limit(10_000, 8) == 4096 - 8 - 512
    assert limit.now == (4096, 4096)


def test_a_limit_that_is_enough_stays(monkeypatch):
    limit = Limit(monkeypatch, 1520, 1520)
    assert raise_file_limit(1000, 8) == 1000
    assert limit.now == (1520, 1520)
    limit = Limit(monkeypatch, resource.RLIM_INFINITY, resource.RLIM_INFINITY)
    assert raise_file_limit(10**6, 8) == 10**6
