"""Policy: the order of one socket's messages, and what an answer or a failure becomes.

No transport and no Autobahn here: a `Conversation` is told of messages and speaks to a `Peer`.
"""

from wsgate.gateway.actions import Actions, is_sendable
from wsgate.gateway.admission import Accepted, RefusedByBackend
from wsgate.gateway.answer import (
    Reply,
    failure_of,
    reply_to_failure,
    reply_to_response,
)
from wsgate.gateway.arrival import Arrival
from wsgate.gateway.chain import Chain, ChainLimits, Link
from wsgate.gateway.conversation import Conversation
from wsgate.gateway.departures import DepartureLimits
from wsgate.gateway.eventful import EventfulConversation
from wsgate.gateway.hooked import HookedConversation
from wsgate.gateway.lastwords import LastWords
from wsgate.gateway.peer import Peer
from wsgate.gateway.register import Register
from wsgate.gateway.route import MakeConversation, Route, Tally
from wsgate.gateway.streams import StreamLimits
from wsgate.gateway.waiting import QueueLimits

__all__ = [
    "Accepted",
    "Actions",
    "Arrival",
    "Chain",
    "ChainLimits",
    "Conversation",
    "DepartureLimits",
    "EventfulConversation",
    "HookedConversation",
    "LastWords",
    "Link",
    "MakeConversation",
    "Peer",
    "QueueLimits",
    "RefusedByBackend",
    "Register",
    "Reply",
    "Route",
    "StreamLimits",
    "Tally",
    "failure_of",
    "is_sendable",
    "reply_to_failure",
    "reply_to_response",
]
