"""A route that speaks GRIP."""

from __future__ import annotations

from wsgate.gateway import Arrival, Conversation, Route
from wsgate.grip.conversation import GripConversation
from wsgate.grip.sharing import Shared


class Grip(Shared):
    """What a `Route` makes its conversations with."""

    def __call__(self, route: Route, arrival: Arrival) -> Conversation:
        """A conversation in this dialect."""
        return GripConversation(self, route, arrival)
