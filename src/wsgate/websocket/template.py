"""What Autobahn keeps of every open connection, kept once.

Its opening handshake sets some eighty attributes on each protocol, most of them copies of the
factory's options, and formats them all for a log line that nobody reads: half a handshake's price,
and 6 KiB a connection. So one handshake is made by Autobahn when the factory is made, with nobody
at the other end, and what it leaves behind becomes attributes of a class. A connection of that
class is open without having any of its own, and gets its own as Autobahn changes them.
"""

from __future__ import annotations

from collections import deque
from functools import cached_property
from inspect import isfunction
from typing import TYPE_CHECKING, Any

from autobahn.websocket.protocol import TrafficStats
from autobahn.websocket.utf8validator import Utf8Validator
from twisted.internet.address import UNIXAddress

from wsgate.http1 import RequestHead
from wsgate.websocket.handshake import Upgrade
from wsgate.websocket.protocol import GatewayProtocol
from wsgate.websocket.writing import AT_ONCE

if TYPE_CHECKING:
    from wsgate.websocket.factory import GatewayFactory


class NobodyWaits:
    """Stands for Autobahn's `is_open` and `is_closed`, which nobody listens to."""

    def callback(self, result: object) -> None:
        """Tell nobody."""


class _NoTransport:
    """The transport of the one handshake that is made for its traces."""

    bufferSize = 0

    def getPeer(self) -> UNIXAddress:
        return UNIXAddress(None)

    getHost = getPeer

    def write(self, data: bytes) -> None:
        """Send to nobody."""

    def registerProducer(self, producer: object, streaming: bool) -> None:
        """Produce for nobody."""


# Attributes of one connection alone, or of the request of the one that was made for this.
_NOT_SHARED = frozenset({"transport", "connected", "factory", "autoPingPendingCall", "_wskey"})

# Objects that may be shared although they can change: nobody reads the statistics, and the queue is
# used only by writes in pieces, which we never ask for.
_SHARED_OBJECTS = (TrafficStats, deque)

_CONSTANT = (bool, int, float, str, bytes, tuple, type(None))


def open_protocol(base: type[GatewayProtocol], factory: GatewayFactory) -> type[GatewayProtocol]:
    """A subclass of `base` whose instances are open, as Autobahn leaves them, from the start.

    Raises:
        TypeError: this Autobahn keeps something on a connection that can change and that is not
            known here, so that it must not be shared.
    """
    first = base()
    first.factory = factory
    first.options = factory.options
    first.fast_limit = factory.fast_limit
    first.one_frame_limit = min(factory.options.fragment_size, AT_ONCE)
    first.transport = _NoTransport()
    first._open_by_autobahn(Upgrade(_REQUEST, None))
    if first.autoPingPendingCall is not None:
        first.autoPingPendingCall.cancel()
    factory.countConnections -= 1
    shared: dict[str, Any] = {
        name: value
        for name, value in vars(first).items()
        if name not in _NOT_SHARED and not name.startswith("http_")
    }
    shared.update(is_open=NobodyWaits(), is_closed=NobodyWaits(), autoPingPendingCall=None)
    shared["utf8validator"] = _per_connection("utf8validator", Utf8Validator)
    for name, value in shared.items():
        _check_shareable(name, value, factory)
        if isfunction(value):
            # As an attribute of a class it would become a method.
            shared[name] = staticmethod(value)
    return type(base.__name__, (base,), {**shared, "factory": factory})


_REQUEST = RequestHead(
    b"GET", b"/", b"HTTP/1.1", ((b"sec-websocket-key", b"AAAAAAAAAAAAAAAAAAAAAA=="),)
)


def _per_connection(name: str, make: Any) -> cached_property[Any]:
    made = cached_property(lambda _: make())
    made.__set_name__(GatewayProtocol, name)
    return made


def _check_shareable(name: str, value: object, factory: GatewayFactory) -> None:
    if isinstance(value, (*_CONSTANT, *_SHARED_OBJECTS, NobodyWaits, cached_property)):
        return
    if name in _READ_ONLY or value is getattr(factory, name, None):
        return
    raise TypeError(f"Autobahn's attribute {name} ({type(value).__name__}) may not be shared")


# Read, and replaced as a whole, but never changed.
_READ_ONLY = frozenset(
    {
        "_results",
        "_transport_details",
        "_valid_events",
        "websocket_extensions",
        "websocket_extensions_in_use",
        "websocket_protocols",
    }
)
