"""The same application in other processes: each tells the others who its members are.

They speak in a channel that no client can name, whose messages come to all of them in one order.
Who has missed one notices it by its number, and asks for everything again.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from functools import partial
from typing import Any, Protocol

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from wsgate.channels import NO_CHANNELS, BusError, ChannelError, Channels, ChannelSet, Message
from wsgate.floods import CalmLogger
from wsgate.node import new_connection_id
from wsgate.pusher.roster import Person
from wsgate.pusher.told import encoded
from wsgate.timeouts import Timeout, Timeouts

BEAT = 5.0
"""Seconds between two signs of life."""

SILENCE = 16.0
"""Seconds without one; then a process is gone, with its members."""

FIRST = 0.5
"""Seconds until the first: the bus may be just coming up."""

PATIENCE = 1.0
"""Seconds that others get to answer a question."""

MOST_IN_PART = 500
"""Members in one message."""

_log = CalmLogger(namespace="wsgate")

Count = tuple[str, Person, int]
"""A channel, a user in it, and how many connections of it a process has."""


class House(Protocol):
    """The application in this process."""

    def members_here(self) -> list[Count]:
        """The members with connections here."""

    def members_there(self, node: str, channel: str, person: Person, count: int) -> None:
        """How many connections of a user are in another process."""

    def node_gone(self, node: str, *, is_ours_to_tell: bool) -> None:
        """A process has ended; one of those that are left tells of its members."""

    def keep(self, channel: str, event: bytes) -> None:
        """The last event of a cache channel."""

    def occupied_here(self, prefix: str) -> dict[str, int]:
        """Channels with subscribers here, and how many."""


class _Neighbour:
    """What is known of another process."""

    __slots__ = ("counts", "heard", "parts", "seq")

    def __init__(self) -> None:
        self.heard = 0.0
        self.seq: int | None = None
        """The number of its last message; None while something was missed."""
        self.counts: dict[tuple[str, str], Person] = {}
        """Who is there."""
        self.parts: list[Count] = []


class Neighbours:
    """All of them, as one process sees them; a member of the channel in which they speak."""

    user: str | None = None

    def __init__(self, name: str, channels: Channels, timeouts: Timeouts, house: House) -> None:
        self.connection_id = new_connection_id()
        self.channels: ChannelSet = NO_CHANNELS
        self._name = name
        self._all = channels
        self._timeouts = timeouts
        self._house = house
        self._seq = 0
        self._others: dict[str, _Neighbour] = {}
        self._questions: dict[int, _Question] = {}
        self._asked = 0
        self._beat: Timeout | None = None

    def __len__(self) -> int:
        """How many are known."""
        return len(self._others)

    # -- a member of channels

    def push(self, message: Message) -> bool:
        """Somebody has said something."""
        try:
            said = json.loads(message.payload)
            if said["node"] != self.connection_id:
                self._heard(said)
        except Exception:
            # Were it raised, those who hear the same message after this would not.
            _log.failure("pusher: what another process said is not understood", kind="neighbours")
        return True

    def close(self, code: int, reason: str) -> None:
        """It cannot be closed."""

    def info(self) -> dict[str, object]:
        """What an operator may know."""
        return {"id": self.connection_id, "neighbours": len(self._others)}

    # -- speaking

    def start(self) -> None:
        """Say who is here, and ask who else is."""
        self._all.add(self)
        self._all.subscribe(self, self._name)
        self._beat = self._timeouts.call_later(FIRST, self._begin)

    def stop(self) -> None:
        """Say that everybody here is gone."""
        if self._beat is not None:
            self._beat.cancel()
            self._beat = None
            self._say("gone")
            self._all.remove(self)

    def count(self, channel: str, person: Person, count: int) -> None:
        """How many connections of a user are here has changed."""
        self._seq += 1
        self._say("count", channel=channel, person=person, count=count)

    def keep(self, channel: str, event: bytes) -> None:
        """An event is the last one of a cache channel."""
        self._say("keep", channel=channel, event=event.decode())

    def ask_occupied(self, prefix: str) -> Deferred[dict[str, int]]:
        """Channels with subscribers in the other processes, and how many."""
        self._asked += 1
        question = self._questions[self._asked] = _Question(set(self._others))
        question.timeout = self._timeouts.call_later(PATIENCE, self._answered, self._asked)
        self._say("list", id=self._asked, prefix=prefix)
        if not question.waits_for:
            self._answered(self._asked)
        return question.result

    def _begin(self) -> None:
        self._beat = self._timeouts.call_later(BEAT, self._say_alive)
        self._say("hello")
        self._say_all()

    def _say_alive(self) -> None:
        self._beat = self._timeouts.call_later(BEAT, self._say_alive)
        self._say("alive")
        now = self._timeouts.seconds()
        for node, other in tuple(self._others.items()):
            if now - other.heard > SILENCE:
                self._forget(node)

    def _say_all(self) -> None:
        members = self._house.members_here()
        for start in range(0, max(1, len(members)), MOST_IN_PART):
            part = members[start : start + MOST_IN_PART]
            is_last = start + MOST_IN_PART >= len(members)
            self._say("all", first=start == 0, last=is_last, members=part)

    def _say(self, what: str, **more: object) -> None:
        said = {"node": self.connection_id, "seq": self._seq, "say": what, **more}
        try:
            told = self._all.publish(self._name, Message(encoded(said).encode()))
        except (BusError, ChannelError) as error:
            _log.warn("pusher: {error}", error=str(error), kind="neighbours")
            return
        told.addErrback(self._not_told)

    def _not_told(self, failure: Failure) -> None:
        # The others find out by the next number, when the bus is back.
        failure.trap(BusError, ChannelError)

    def _answer(self, what: str, **more: object) -> None:
        """As `_say`, once all have heard what is answered."""
        self._timeouts.call_later(0, partial(self._say, what, **more))

    # -- hearing

    def _heard(self, said: dict[str, Any]) -> None:
        node, what = said["node"], said["say"]
        if what == "gone":
            self._forget(node)
            return
        other = self._others.get(node)
        if other is None:
            other = self._others[node] = _Neighbour()
            if what not in ("hello", "all"):
                self._answer("ask", of=node)
        other.heard = self._timeouts.seconds()
        act = getattr(self, f"_on_{what}", None)
        if act is not None:
            act(node, other, said)

    def _on_hello(self, _node: str, _other: _Neighbour, _said: dict[str, Any]) -> None:
        self._timeouts.call_later(0, self._say_all)

    def _on_ask(self, _node: str, _other: _Neighbour, said: dict[str, Any]) -> None:
        if said["of"] == self.connection_id:
            self._timeouts.call_later(0, self._say_all)

    def _on_alive(self, node: str, other: _Neighbour, said: dict[str, Any]) -> None:
        if other.seq != said["seq"]:
            other.seq = None
            self._answer("ask", of=node)

    def _on_count(self, node: str, other: _Neighbour, said: dict[str, Any]) -> None:
        if other.seq is None:
            return
        if said["seq"] != other.seq + 1:
            other.seq = None
            self._answer("ask", of=node)
            return
        other.seq += 1
        self._set(node, other, said["channel"], Person(*said["person"]), said["count"])

    def _on_all(self, node: str, other: _Neighbour, said: dict[str, Any]) -> None:
        if said["first"]:
            other.parts = []
        other.parts += [(channel, Person(*person), n) for channel, person, n in said["members"]]
        if said["last"]:
            parts, other.parts = other.parts, []
            self._replace(node, other, parts)
            other.seq = said["seq"]

    def _replace(self, node: str, other: _Neighbour, members: Iterable[Count]) -> None:
        left = dict(other.counts)
        for channel, person, count in members:
            left.pop((channel, person.user_id), None)
            self._set(node, other, channel, person, count)
        for (channel, _), person in left.items():
            self._set(node, other, channel, person, 0)

    def _set(self, node: str, other: _Neighbour, channel: str, person: Person, count: int) -> None:
        if count > 0:
            other.counts[channel, person.user_id] = person
        else:
            other.counts.pop((channel, person.user_id), None)
        self._house.members_there(node, channel, person, count)

    def _forget(self, node: str) -> None:
        if self._others.pop(node, None) is not None:
            first = min([self.connection_id, *self._others])
            self._house.node_gone(node, is_ours_to_tell=first == self.connection_id)

    def _on_keep(self, _node: str, _other: _Neighbour, said: dict[str, Any]) -> None:
        self._house.keep(said["channel"], said["event"].encode())

    # -- questions

    def _on_list(self, node: str, _other: _Neighbour, said: dict[str, Any]) -> None:
        counts = self._house.occupied_here(said["prefix"])
        self._answer("listed", to=node, id=said["id"], counts=counts)

    def _on_listed(self, node: str, _other: _Neighbour, said: dict[str, Any]) -> None:
        question = self._questions.get(said["id"])
        if said["to"] != self.connection_id or question is None:
            return
        question.add(node, said["counts"])
        if not question.waits_for:
            self._answered(said["id"])

    def _answered(self, number: int) -> None:
        question = self._questions.pop(number)
        if question.timeout is not None:
            question.timeout.cancel()
        question.result.callback(question.counts)


class _Question:
    """What channels others have, and who has not answered yet."""

    __slots__ = ("counts", "result", "timeout", "waits_for")

    def __init__(self, waits_for: set[str]) -> None:
        self.waits_for = waits_for
        self.counts: dict[str, int] = {}
        self.result: Deferred[dict[str, int]] = Deferred()
        self.timeout: Timeout | None = None

    def add(self, node: str, counts: dict[str, int]) -> None:
        """One of them has answered."""
        if node in self.waits_for:
            self.waits_for.discard(node)
            for channel, count in counts.items():
                self.counts[channel] = self.counts.get(channel, 0) + count
