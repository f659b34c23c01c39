"""Ports of the parent's: real sockets, a real reactor that never runs."""

import os
import socket

import pytest
from twisted.internet.endpoints import serverFromString
from twisted.internet.epollreactor import EPollReactor
from twisted.internet.interfaces import IReactorCore, IReactorTCP
from twisted.internet.protocol import Factory
from twisted.internet.task import Clock

from wsgate.tls import server_endpoint
from wsgate.workers.adopted import (
    GIVE_WAY,
    AdoptedTCPPort,
    AdoptedUNIXPort,
    AdoptingReactor,
    worker_description,
)


@pytest.fixture
def reactor():
    made = EPollReactor()
    yield made
    made.removeAll()
    made.disconnectAll()


def never():
    return False


@pytest.fixture
def closing():
    ports = []
    yield ports.append
    for port in ports:
        port.connectionLost(None)


def listener(family=socket.AF_INET, address=("127.0.0.1", 0), backlog=100):
    made = socket.socket(family)
    made.bind(address)
    made.listen(backlog)
    made.setblocking(False)
    return made


def is_open(descriptor, listening):
    """Whether `descriptor` still is that socket; its number may have been given to another."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.fstat(listening.fileno()))
    except OSError:
        return False


def adopted(reactor, description, listening):
    descriptor = os.dup(listening.fileno())
    got = []
    endpoint = server_endpoint(AdoptingReactor(reactor, descriptor, never), description, None)
    endpoint.listen(Factory()).addCallback(got.append)
    # It was duplicated, and must not be left to child processes.
    assert not is_open(descriptor, listening)
    return got[0]


@pytest.mark.parametrize("description", ["tcp:1", "tcp6:1", "unix:/nowhere/x", "haproxy:tcp:1"])
def test_an_endpoint_gets_the_socket_whatever_it_asks_for(reactor, closing, description):
    with listener() as listening:
        port = adopted(reactor, description, listening)
        closing(port)
        assert type(port) is AdoptedTCPPort
        assert port.getHost().port == listening.getsockname()[1]
        assert port in reactor.getReaders()


def test_an_adopted_port_is_no_descriptor_for_children(reactor, closing):
    with listener() as listening:
        port = adopted(reactor, "tcp:1", listening)
        closing(port)
        assert not os.get_inheritable(port.fileno())


def test_the_socket_lives_on_when_the_port_is_closed(reactor):
    with listener() as listening:
        adopted(reactor, "tcp:1", listening).connectionLost(None)
        with socket.create_connection(listening.getsockname(), 5):
            listening.setblocking(True)
            listening.settimeout(5)
            listening.accept()[0].close()


def test_a_unix_port_leaves_mode_and_path_as_they_are(reactor, tmp_path):
    path = str(tmp_path / "ws.sock")
    with listener(socket.AF_UNIX, path) as listening:
        os.chmod(path, 0o600)
        port = adopted(reactor, f"unix:{path}", listening)
        assert type(port) is AdoptedUNIXPort
        assert os.stat(path).st_mode & 0o777 == 0o600
        port.connectionLost(None)
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(path)


def test_one_connection_is_accepted_in_a_turn(reactor, closing):
    class Counting(Factory):
        noisy = False
        count = 0

        def buildProtocol(self, addr):
            self.count += 1

    factory = Counting()
    with listener() as listening:
        endpoint = serverFromString(
            AdoptingReactor(reactor, os.dup(listening.fileno()), never), "tcp:1"
        )
        endpoint.listen(factory).addCallback(closing)
        clients = [socket.create_connection(listening.getsockname(), 5) for _ in range(3)]
        (port,) = (r for r in reactor.getReaders() if isinstance(r, AdoptedTCPPort))
        for accepted in (1, 2, 3, 3):
            port.doRead()
            assert factory.count == accepted
        for client in clients:
            client.close()


def test_everything_else_is_the_real_reactor_s(reactor):
    adopting = AdoptingReactor(reactor, -1, never)
    assert adopting.callLater == reactor.callLater
    assert IReactorCore.providedBy(adopting)
    assert IReactorTCP.providedBy(adopting)


@pytest.mark.parametrize(
    ("description", "read"),
    [
        ("tcp:8080", "tcp:8080"),
        ("tls:443", "tls:443"),
        ("systemd:domain=INET:index=0", "tcp:0"),
        ("haproxy:systemd:domain=UNIX:name=ws.socket", "haproxy:tcp:0"),
        ("unix:/run/systemd:x", "unix:/run/systemd:x"),
    ],
)
def test_only_systemd_s_sockets_are_read_as_something_else(description, read):
    assert worker_description(description) == read


def test_a_port_gives_way_once_for_a_moment_and_then_takes_what_is_left(reactor, closing):
    clock = Clock()
    accepted = []
    with listener() as listening:
        port = adopted(reactor, "tcp:1", listening)
        closing(port)
        port.gives_way = lambda: True
        port.reactor = clock
        for name in ("addReader", "removeReader", "removeWriter"):
            setattr(clock, name, getattr(reactor, name))
        port.factory.buildProtocol = accepted.append
        with socket.create_connection(listening.getsockname(), 5):
            port.doRead()
            assert port not in reactor.getReaders()
            assert not accepted
            clock.advance(GIVE_WAY)
            assert port in reactor.getReaders()
            port.doRead()
            assert len(accepted) == 1
        port.doRead()
        assert port not in reactor.getReaders()
        port.disconnecting = True
        clock.advance(GIVE_WAY)
        assert port not in reactor.getReaders()
