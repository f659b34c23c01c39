"""wsgate.accepting: a port leaves in the kernel's queue what there is no room for."""

import socket
from inspect import getsource

from twisted.internet.task import Clock
from twisted.internet.tcp import Port

from wsgate.accepting import AT_ONCE, PAUSE, accept_while_there_is_room


class FakePort:
    connected = True
    disconnecting = False
    numberAccepts = 5000
    reading = True

    def __init__(self):
        self.accepted = []

    def doRead(self):
        self.accepted.append(self.numberAccepts)

    def stopReading(self):
        self.reading = False

    def startReading(self):
        self.reading = True


def limited(rooms):
    port, clock = FakePort(), Clock()
    accept_while_there_is_room(port, clock, lambda: rooms.pop(0))
    return port, clock


def test_no_more_is_accepted_in_a_turn_than_there_is_room_for_nor_too_much_at_once():
    port, _ = limited([3, 10_000])
    port.doRead()
    port.doRead()
    assert port.accepted == [3, AT_ONCE]


def test_without_room_the_port_rests_and_looks_again():
    port, clock = limited([0, 7])
    port.doRead()
    assert not port.reading
    assert port.accepted == []
    clock.advance(PAUSE)
    assert port.reading
    port.doRead()
    assert port.accepted == [7]


def test_a_port_that_was_closed_meanwhile_stays_closed():
    port, clock = limited([0])
    port.doRead()
    port.connected = False
    clock.advance(PAUSE)
    assert not port.reading


def test_another_kind_of_port_is_left_as_it_is():
    with socket.socket() as other:
        accept_while_there_is_room(other, Clock(), lambda: 0)


def test_twisteds_ports_have_what_this_relies_on():
    assert "self.numberAccepts = " in getsource(Port.startListening)
    assert "self.numberAccepts" in getsource(Port.doRead)
