"""A route that speaks GRIP."""

from __future__ import annotations

from wsgate.gateway import Conversation, Peer, QueueLimits, Route
from wsgate.grip.conversation import GripConversation
from wsgate.grip.sharing import Shared
from wsgate.http1 import RequestHead


class Grip(Shared):
    """What a `Route` makes its conversations with."""

    def __call__(
        self,
        connection_id: str,
        route: Route,
        params: bytes,
        peer: Peer,
        limits: QueueLimits,
        head: RequestHead,
        subprotocol: str | None,
    ) -> Conversation:
        """A conversation in this dialect; the arguments are those of `Route.converse`."""
        return GripConversation(connection_id, route, params, peer, limits, head, subprotocol, self)
