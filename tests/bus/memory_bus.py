"""A bus of one process for unit tests: real enough to have nodes, and to be lost."""

import itertools

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock

from wsgate.bus.exchange import Exchange, Keeping
from wsgate.bus.interface import NOWHERE
from wsgate.channels import BusAway


def new_exchange(clock: Clock, keeping: Keeping | None = None) -> Exchange:
    """What the nodes share; its epochs are 1, 2, 3 …"""
    epochs = (f"{n:x}" for n in itertools.count(1))
    return Exchange(clock.seconds, lambda: next(epochs), keeping or Keeping())


class MemoryBus:
    """One node's end of an `Exchange`; `lose` and `regain` are what a network does."""

    def __init__(self, exchange: Exchange):
        self.exchange = exchange
        self.is_up = False
        self.deaf = False
        """Whether what is published does not arrive."""
        self.held = None

    def __str__(self):
        return "memory"

    def start(self, node, listener):
        self.node = node
        self.listener = listener
        self.regain()

    def stop(self):
        return succeed(None)

    def lose(self):
        self.is_up = False
        self._detach()
        self.listener.bus_down("lost")

    def _detach(self):
        for channel in self.exchange._channels.values():
            channel.followers.pop(self.node, None)
        for nodes in self.exchange._topics.values():
            nodes.pop(self.node, None)

    def die(self):
        """As a process does: without a word, until its lease ends."""
        self.is_up = False
        self._detach()

    def regain(self):
        self.is_up = True
        self.listener.bus_up()

    # the listener that the exchange tells

    def message_published(self, *what):
        if not self.deaf:
            self.listener.message_published(*what)

    def message_sent(self, *what):
        self.listener.message_sent(*what)

    def _do(self, act):
        if not self.is_up:
            return fail(BusAway("the bus is away"))
        if self.held is None:
            return succeed(act())
        outcome = Deferred()
        self.held.append((outcome, act))
        return outcome

    def release(self):
        """Let what was asked since `held` was set be answered."""
        held, self.held = self.held, None
        for outcome, act in held:
            outcome.callback(act())

    def listen(self, topic):
        if self.is_up:
            self.exchange.listen(self.node, topic, self)

    def unlisten(self, topic):
        self.exchange.unlisten(self.node, topic)

    def send(self, topic, data):
        return self._do(lambda: self.exchange.send(topic, data))

    def follow(self, channel, after=None):
        if self.is_up:
            self.exchange.follow(self.node, channel, after, self)
        return self._do(lambda: self.exchange.read(channel, after or NOWHERE))

    def unfollow(self, channel):
        self.exchange.unfollow(self.node, channel)

    def publish(self, channel, data):
        return self._do(lambda: self.exchange.publish(channel, data))

    def read(self, channel, after):
        return self._do(lambda: self.exchange.read(channel, after))

    def attend(self, channel, count, joined=(), left=(), *, anew=False):
        return self._do(
            lambda: self.exchange.attend(self.node, channel, count, joined, left, anew=anew)
        )

    def presence(self, channel, *, users):
        return self._do(lambda: self.exchange.presence(channel))

    def take(self, ask):
        return self._do(lambda: self.exchange.buckets.take(self.node, ask))
