"""Policy: the order of one socket's messages, and what an answer or a failure becomes.

No transport and no Autobahn here: a `Conversation` is told of messages and speaks to a `Peer`.
"""

from wsgate.gateway.answer import Reply, reply_to_failure, reply_to_response
from wsgate.gateway.conversation import Conversation, Peer, QueueLimits
from wsgate.gateway.route import Route, Tally

__all__ = [
    "Conversation",
    "Peer",
    "QueueLimits",
    "Reply",
    "Route",
    "Tally",
    "reply_to_failure",
    "reply_to_response",
]
