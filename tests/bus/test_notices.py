"""Notices to all processes: over a bus in memory, and over a parent's hub with real sockets."""

import socket

import pytest
from twisted.internet.task import Clock

from tests.bus.memory_bus import MemoryBus
from tests.bus.test_shared import NODES, Node
from tests.deferreds import error, result
from wsgate.bus import Hub, HubBus, ParentBus, SharedChannels
from wsgate.bus.envelope import Envelope, Kind, encode
from wsgate.bus.exchange import Keeping
from wsgate.channels import LONGEST_NOTICE, BusAway


@pytest.fixture
def nodes(clock, exchange):
    return [Node(name, clock, exchange) for name in NODES]


def listen(nodes, topic="t"):
    heard = [[] for _ in nodes]
    ends = [
        node.channels.on_notice(topic, got.append, lambda got=got: got.append("missed"))
        for node, got in zip(nodes, heard, strict=True)
    ]
    return heard, ends


def test_a_notice_reaches_every_process_once_the_one_that_gave_it_too(nodes):
    heard, _ = listen(nodes)
    assert result(nodes[1].channels.notify("t", b"x")) == 3
    assert heard == [[b"x"]] * 3


def test_who_does_not_listen_may_notify_and_is_not_counted(nodes):
    heard, _ = listen(nodes[1:])
    assert result(nodes[0].channels.notify("t", b"x")) == 2
    assert heard == [[b"x"]] * 2


def test_who_has_ended_it_hears_no_more(nodes):
    heard, ends = listen(nodes)
    ends[2]()
    assert result(nodes[0].channels.notify("t", b"x")) == 2
    assert heard == [[b"x"], [b"x"], []]


def test_without_the_bus_this_process_hears_and_the_sender_is_told_that_others_did_not(nodes):
    heard, _ = listen(nodes)
    nodes[0].bus.lose()
    assert isinstance(error(nodes[0].channels.notify("t", b"x")), BusAway)
    assert heard == [[b"x"], [], []]


def test_whoever_was_cut_off_is_told_that_it_may_have_missed_some_and_hears_again(nodes):
    heard, _ = listen(nodes)
    nodes[2].bus.lose()
    nodes[0].channels.notify("t", b"1")
    nodes[2].bus.regain()
    nodes[0].channels.notify("t", b"2")
    assert heard == [[b"1", b"2"], [b"1", b"2"], ["missed", b"2"]]


def test_whoever_listens_before_there_is_a_bus_hears_and_has_missed_nothing(clock, exchange):
    heard = []
    channels = SharedChannels(clock, None, None, MemoryBus(exchange), NODES[0])
    channels.on_notice("t", heard.append, lambda: heard.append("missed"))
    channels.start()
    other = Node(NODES[1], clock, exchange)
    other.channels.notify("t", b"x")
    assert heard == [b"x"]


def test_what_is_no_notice_is_dropped_and_counted(nodes):
    heard, _ = listen(nodes)
    for data in (b"nonsense", encode(Envelope(Kind.CLOSE_USER, NODES[1], 1, "ann", b"[1000,0]"))):
        nodes[0].bus.send("notice:t", data)
    assert heard == [[], [], []]
    assert [node.channels.malformed for node in nodes] == [2, 2, 2]


class Reactor(Clock):
    """Adopts real sockets, and moves what is written to them when it is told."""

    def __init__(self):
        super().__init__()
        self.ends = []

    def adoptStreamConnection(self, descriptor, family, factory):
        end = _End(socket.socket(fileno=socket.dup(descriptor)), factory.buildProtocol(None))
        self.ends.append(end)
        end.protocol.makeConnection(end)

    def move(self):
        while any(end.move() for end in self.ends):
            pass


class _End:
    def __init__(self, sock, protocol):
        sock.setblocking(False)
        self.sock, self.protocol = sock, protocol

    def write(self, data):
        self.sock.sendall(data)

    def registerProducer(self, producer, streaming):
        pass

    def move(self):
        try:
            data = self.sock.recv(65536)
        except BlockingIOError:
            return False
        self.protocol.dataReceived(data)
        return True


@pytest.fixture
def family():
    """A parent and two workers."""
    reactor = Reactor()
    hub = Hub(reactor, Keeping())
    parent = SharedChannels(reactor, None, None, HubBus(hub), NODES[0])
    parent.start()
    found = [parent]
    for name in NODES[1:]:
        ours, theirs = socket.socketpair()
        hub.adopt(ours)
        bus = ParentBus(reactor, theirs.detach(), 1000, lambda: None)
        found.append(SharedChannels(reactor, None, None, bus, name))
        found[-1].start()
    yield reactor, found
    for end in reactor.ends:
        end.sock.close()


@pytest.mark.parametrize("sender", [0, 1])
def test_a_notice_of_the_parent_or_a_worker_reaches_all_workers(family, sender):
    reactor, found = family
    heard = []
    for channels in found[1:]:
        channels.on_notice("t", heard.append)
    reactor.move()
    told = []
    longest = b"x" * LONGEST_NOTICE
    found[sender].notify("t", longest).addCallback(told.append)
    reactor.move()
    assert (told, heard) == ([2], [longest] * 2)
