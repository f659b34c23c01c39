"""What a script says to others when its client has left: of an answer only that can be done."""

from __future__ import annotations

from functools import partial

from wsgate import cgi
from wsgate.channels import Channels, Message
from wsgate.fastcgi import Response
from wsgate.floods import CalmLogger
from wsgate.gateway.actions import Actions
from wsgate.gateway.answer import NoAnswer, Reply, reply_to_response
from wsgate.gateway.membership import Warn, publish
from wsgate.oneline import one_line

_log = CalmLogger(namespace="wsgate")


class LastWords:
    """Publishes what the answer to a `disconnect` is to publish; no more can be done by then."""

    def __init__(self, channels: Channels) -> None:
        self._channels = channels

    def __call__(self, connection_id: str, response: Response) -> None:
        """Follow the answer about this connection; what cannot be done is a warning."""
        warn = partial(_warn, connection_id)
        reply = publish_late(self._channels, response, warn)
        if reply is None:
            return
        actions = reply.actions or Actions()
        if reply.close is not None or actions._replace(publish=()) != Actions():
            warn("the client has left, so of Wsgate-* only Wsgate-Publish does anything")


def publish_late(channels: Channels, response: Response, warn: Warn) -> Reply | None:
    """Publish what an answer is to publish; the answer, if it asks for anything at all.

    Raises:
        cgi.MalformedResponse: it is none.
    """
    if not cgi.parse_response(response.stdout)[0].has_actions:
        return None
    try:
        reply, warnings = reply_to_response(response.stdout, response.stderr)
    except NoAnswer as fault:
        warn(f"{fault}; nothing is published")
        return None
    for warning in warnings:
        warn(warning)
    for one in (reply.actions or Actions()).publish:
        publish(channels, one, message_of(reply), None, warn)
    return reply


def message_of(reply: Reply) -> Message | None:
    """The body of an answer, as others may get it; None where there is none."""
    return None if reply.payload is None else Message(bytes(reply.payload), reply.is_binary)


def _warn(connection_id: str, text: str) -> None:
    _log.warn("disconnect of {id}: {text}", id=connection_id, text=one_line(text), kind=text)
