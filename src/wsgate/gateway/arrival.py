"""What a conversation begins with."""

from __future__ import annotations

from typing import NamedTuple

from wsgate.gateway.peer import Peer
from wsgate.gateway.waiting import QueueLimits
from wsgate.http1 import RequestHead


class Arrival(NamedTuple):
    """A client whose handshake was good."""

    connection_id: str
    params: bytes
    """Its PARAMS records, of `Route.connection_params`."""
    peer: Peer
    """Its socket."""
    limits: QueueLimits
    """How much may wait on it."""
    head: RequestHead
    """The handshake."""
    subprotocol: str | None = None
    """The one of those offered that the route speaks; `params` end with it."""
