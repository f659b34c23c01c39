"""The only room that knows Autobahn: handshake guard, protocol, factory.

Bytes come in and frames go out here; from `Conversation.message_received` on there are only whole
messages.
"""

from wsgate.websocket.draining import GOING_AWAY, RESTARTING, Farewell
from wsgate.websocket.factory import GatewayFactory, Page
from wsgate.websocket.options import WebSocketOptions

__all__ = ["GOING_AWAY", "RESTARTING", "Farewell", "GatewayFactory", "Page", "WebSocketOptions"]
