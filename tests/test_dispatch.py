"""wsgate.dispatch: events reach their descriptors, and an exception costs nobody else's."""

import socket

from twisted.internet import reactor
from twisted.internet.epollreactor import EPollReactor
from twisted.internet.selectreactor import SelectReactor
from twisted.trial.unittest import TestCase

from wsgate.dispatch import AT_ONCE, call_directly


class Readable:
    """One end of a socket pair that has something to read."""

    def __init__(self, on_read):
        self.on_read = on_read
        self.ours, theirs = socket.socketpair()
        theirs.send(b"x")
        self.theirs = theirs
        self.lost = None

    def fileno(self):
        return self.ours.fileno()

    def doRead(self):
        self.ours.recv(1)
        return self.on_read()

    def connectionLost(self, reason):
        self.lost = reason

    def logPrefix(self):
        return "test"


class DispatchTests(TestCase):
    def setUp(self):
        self.reactor = EPollReactor()
        self.addCleanup(self.reactor._poller.close)
        call_directly(self.reactor)

    def readable(self, on_read):
        descriptor = Readable(on_read)
        self.addCleanup(descriptor.ours.close)
        self.addCleanup(descriptor.theirs.close)
        self.reactor.addReader(descriptor)
        return descriptor

    def test_every_event_is_delivered(self):
        read = []
        for n in range(3):
            self.readable(lambda n=n: read.append(n))
        self.reactor.doIteration(0)
        self.assertEqual(sorted(read), [0, 1, 2])

    def test_a_turn_takes_so_many_events_and_the_next_ones_the_others(self):
        read = []
        for n in range(AT_ONCE + 10):
            self.readable(lambda n=n: read.append(n))
        self.reactor.doIteration(0)
        self.assertEqual(len(read), AT_ONCE)
        self.reactor.doIteration(0)
        self.assertEqual(sorted(read), list(range(AT_ONCE + 10)))

    def test_an_exception_is_logged_and_loses_its_own_connection_only(self):
        read = []
        broken = self.readable(lambda: 1 / 0)
        self.readable(lambda: read.append(1))
        self.reactor.doIteration(0)
        self.assertEqual(read, [1])
        self.assertIsNotNone(broken.lost)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_a_descriptor_removed_by_an_earlier_one_is_passed_over(self):
        descriptors = []

        def remove_the_others():
            for other in descriptors:
                self.reactor.removeReader(other)
            read.append(1)

        read = []
        descriptors += [self.readable(remove_the_others) for _ in range(3)]
        self.reactor.doIteration(0)
        self.assertEqual(read, [1])

    def test_other_reactors_are_left_alone(self):
        other = SelectReactor()
        before = other.doIteration
        call_directly(other)
        self.assertEqual(other.doIteration, before)
        self.assertNotIn("doIteration", vars(reactor))
