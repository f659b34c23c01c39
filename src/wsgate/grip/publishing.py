"""`/publish/` of the control interface: items for channels, as GRIP libraries send them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet.defer import Deferred, DeferredList

from wsgate.channels import ChannelError, Channels, Message
from wsgate.control.answers import Action, Answer, Asked, Endpoint, Operation, Said, refused, told
from wsgate.floods import CalmLogger
from wsgate.gateway.actions import Close
from wsgate.grip.keys import KeyFile
from wsgate.grip.names import channel_name
from wsgate.grip.ordering import Ordering
from wsgate.grip.publish import ITEMS, BadPublish, Item, parse_items
from wsgate.grip.signing import is_signed
from wsgate.timeouts import Timeouts

_TEXT = "text/plain; charset=utf-8"

_OVER = refused(
    401, "the token does not hold any more", ("WWW-Authenticate", 'Bearer realm="wsgate"')
)

_log = CalmLogger(namespace="wsgate")


class Publishers:
    """Who may publish by a token of its own: whoever knows the key of a route.

    Args:
        routes: the key of each, None without one, and the prefix of its channels.
    """

    def __init__(self, routes: Sequence[tuple[KeyFile | None, str]] = ()) -> None:
        self.routes = routes
        """Those of now."""

    def speak(self) -> bool:
        """Whether there is a route that speaks GRIP."""
        return bool(self.routes)

    def are_proved_by(self, authorization: str) -> bool:
        """Whether an Authorization field is a publisher's, RFC 6750 §2.1."""
        return bool(self.prefixes(authorization))

    def prefixes(self, authorization: str) -> list[str]:
        """The prefixes of the routes whose key signed the token; none if none did."""
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer":
            return []
        token = token.strip()
        keys = ((file.key, prefix) for file, prefix in self.routes if file is not None)
        return list(dict.fromkeys(prefix for key, prefix in keys if is_signed(token, key)))


def publishing(
    source: Callable[[], Channels], publishers: Publishers, timeouts: Timeouts
) -> list[Endpoint]:
    """The endpoints, which are there while a route speaks GRIP.

    Args:
        source: gives the channels, or raises Refusal where there are none to be asked.
        publishers: whose own channels begin with a prefix that they do not name.
        timeouts: for items that wait for the one before them.
    """
    publish: Action = _Publishing(source, publishers, timeouts).publish
    proof, is_there = publishers.are_proved_by, publishers.speak
    return [
        Endpoint(("publish", ""), {"POST": _described(publish)}, proof, is_there),
        Endpoint(("publish",), {"POST": publish}, proof, is_there),
    ]


def _described(publish: Action) -> Operation:
    what = "Publish as GRIP libraries do; also with a token that a route's grip_key_file has signed"
    text = {"type": "string"}
    both = {"type": "string", "description": '"Published"; as JSON where only that is accepted'}
    return Operation(
        publish,
        "publishItems",
        what,
        {
            200: Said("All items were taken. X-Wsgate-Delivered: to how many.", both, _TEXT),
            400: Said("An item is wrong; nothing was published.", text, _TEXT),
            503: Said("Too much waits to go out, or the bus is away.", text, _TEXT),
        },
        parameters=None,
        asks_others=True,
        takes=ITEMS,
    )


class _Publishing:
    def __init__(
        self, source: Callable[[], Channels], publishers: Publishers, timeouts: Timeouts
    ) -> None:
        self._source = source
        self._publishers = publishers
        self._ordering = Ordering(timeouts, self._deliver)
        self._deliveries: list[Deferred[int]] = []
        self._refused: ChannelError | None = None

    async def publish(self, asked: Asked) -> Answer:
        """Give each item to its channel. 200 says that all were taken, and how many got them."""
        prefixes = self._publishers.prefixes(asked.authorization)
        if not prefixes:
            # What proved a publisher when its header came may be over when the body is there.
            if not asked.may_all:
                return _OVER
            prefixes = [""]
        try:
            items = [
                item._replace(channel=channel_name(item.channel, prefix))
                for item in parse_items(asked.body)
                for prefix in prefixes
            ]
        except (BadPublish, ChannelError) as error:
            return _text(400, str(error))
        self._source()
        deliveries, refused = self._offer(items)
        delivered = 0
        outcome: Any
        for is_done, outcome in await DeferredList(deliveries, consumeErrors=True):
            if not is_done:
                outcome.raiseException()
            delivered += outcome
        if refused is not None:
            answer = _text(503 if refused.limit == "publish_backlog" else 400, str(refused))
            return answer._replace(headers=(("Retry-After", "1"),))
        answer = _wanted(asked.accept)
        return answer._replace(headers=(("X-Wsgate-Delivered", str(delivered)),))

    def _offer(self, items: Sequence[Item]) -> tuple[list[Deferred[int]], ChannelError | None]:
        deliveries: list[Deferred[int]] = []
        self._deliveries = deliveries
        self._refused = None
        for item in items:
            self._ordering.offer(item)
            if self._refused is not None:
                break
        refused, self._refused = self._refused, None
        self._deliveries = []
        return deliveries, refused

    def _deliver(self, item: Item) -> None:
        """Deliver one item: while it is offered, or later, when its turn has come."""
        if item.what is None:
            return
        try:
            channels = self._source()
            if isinstance(item.what, Close):
                delivery = channels.close_subscribers(item.channel, *item.what)
            else:
                delivery = channels.publish(item.channel, Message(*item.what))
        except ChannelError as error:
            self._refused = error
            _log.warn("an item for {channel} is lost: {error}", channel=item.channel, error=error)
            return
        self._deliveries.append(delivery)


def _text(status: int, text: str) -> Answer:
    return Answer(status, f"{text}\n".encode(), _TEXT)


def _wanted(accept: str) -> Answer:
    """The answer in the form that the publisher likes: JSON only if it asks for that."""
    kinds = [kind.partition(";")[0].strip().lower() for kind in accept.split(",")]
    if "application/json" in kinds and "text/plain" not in kinds:
        return told(200, {"message": "Published"})
    return _text(200, "Published")
