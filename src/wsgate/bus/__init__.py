"""Several processes that act as one: publishes, users, connections and presence across them.

shared.py      `Channels` of several processes; followed.py: their messages; attendance.py: who is
               in which channel; nodes.py and asks.py: questions to other nodes
following.py   a channel's order at one node: nothing twice, every gap noticed (pure)
envelope.py    what nodes send each other, as bytes (pure)
interface.py   what a bus does, and whom it tells
redis.py       the bus that is a Redis; lua.py: what Redis does in one step (pure)
exchange.py    the same in the memory of one process (pure)
hub.py         the parent of several workers as their bus; parent.py: a worker's end of it; wire.py:
               what they say to each other (pure)
make.py        the bus that the settings ask for; samples.py: its figures
"""

from wsgate.bus.hub import Hub, HubBus
from wsgate.bus.interface import Bus
from wsgate.bus.make import channels_over, keeping, make_bus
from wsgate.bus.parent import ParentBus
from wsgate.bus.samples import bus_samples
from wsgate.bus.shared import SharedChannels

__all__ = [
    "Bus",
    "Hub",
    "HubBus",
    "ParentBus",
    "SharedChannels",
    "bus_samples",
    "channels_over",
    "keeping",
    "make_bus",
]
