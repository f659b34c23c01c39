"""What one node asks of others, and answers to them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from twisted.internet.defer import Deferred, fail, maybeDeferred
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from wsgate.bus.asks import Asks
from wsgate.bus.envelope import Envelope, EnvelopeError, Kind, decode, encode
from wsgate.bus.interface import Bus
from wsgate.channels import BusError, ChannelError
from wsgate.floods import CalmLogger
from wsgate.node import node_of

Answer = Callable[[Envelope], Deferred[Any]]

_log = CalmLogger(namespace="wsgate.bus")


class Nodes:
    """The other nodes, as far as `node`, this one, asks them. `answers` are what they may ask.

    What comes of a question must be something that JSON holds.
    """

    def __init__(
        self, clock: IReactorTime, bus: Bus, node: str, answers: Mapping[Kind, Answer]
    ) -> None:
        self._bus = bus
        self._node = node
        self._answers = answers
        self._asks = Asks(clock)

    @property
    def unanswered(self) -> int:
        """Questions that not all nodes answered in time."""
        return self._asks.unanswered

    def ask_node_of(
        self,
        connection_id: str,
        kind: Kind,
        payload: bytes = b"",
        is_binary: bool = False,
        nothing: Any = False,
    ) -> Deferred[Any]:
        """What the node of a connection says; `nothing` if there is no such node.

        Fails with a BusError, or with the ChannelError that the node had.
        """
        topic = f"node:{node_of(connection_id)}"
        asked = self._ask(topic, Envelope(kind, self._node, 0, connection_id, payload, is_binary))
        return asked.addCallback(lambda answers: answers[0] if answers else nothing)

    def ask_user(
        self, user: str, kind: Kind, payload: bytes, is_binary: bool = False
    ) -> Deferred[int]:
        """The sum of what all nodes with connections of `user` say; fails likewise."""
        asked = self._ask(f"user:{user}", Envelope(kind, self._node, 0, user, payload, is_binary))
        return asked.addCallback(lambda counts: sum(n for n in counts if isinstance(n, int)))

    def _ask(self, topic: str, question: Envelope) -> Deferred[list[Any]]:
        number = self._asks.begin()
        try:
            heard = self._bus.send(topic, encode(question._replace(number=number)))
        except EnvelopeError as error:
            heard = fail(ChannelError(str(error)))
        return self._asks.collect(number, heard).addCallback(_values)

    def message_sent(self, data: bytes) -> None:
        """Another node asks, or answers. Raises ValueError if it is neither."""
        envelope = decode(data)
        if envelope.kind is Kind.REPLY:
            self._asks.answered(envelope.number, _told(envelope.payload))
            return
        answer = self._answers.get(envelope.kind)
        if answer is None:
            raise EnvelopeError("a message of a channel to a node")
        done = maybeDeferred(answer, envelope)
        done.addCallbacks(lambda value: {"value": value}, _error)
        done.addCallback(self._reply, envelope)
        done.addErrback(_not_answered)

    def _reply(self, value: dict[str, Any], question: Envelope) -> Any:
        if question.node == self._node:
            self._asks.answered(question.number, value)
            return None
        reply = encode(question.reply(self._node, value))
        return self._bus.send(f"node:{question.node}", reply)


def _not_answered(failure: Failure) -> None:
    if not failure.check(BusError):
        _log.failure("a question of another node could not be answered", failure)


def _error(failure: Failure) -> dict[str, Any]:
    failure.trap(ChannelError)
    error: Any = failure.value
    return {"error": str(error), "limit": error.limit}


def _told(payload: bytes) -> dict[str, Any]:
    told = json.loads(payload)
    if not (isinstance(told, dict) and ("value" in told or "error" in told)):
        raise EnvelopeError("a reply that says nothing")
    return told


def _values(answers: list[dict[str, Any]]) -> list[Any]:
    """What nodes answered. Raises the ChannelError that one of them had."""
    for answer in answers:
        if "error" in answer:
            raise ChannelError(str(answer["error"]), str(answer.get("limit", "")))
    return [answer["value"] for answer in answers]
