"""Presence channels: who is told of whom."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Protocol

from wsgate.channels import Member, Message
from wsgate.pusher import told
from wsgate.pusher.roster import HERE, Person, Roster

Give = Callable[[str, tuple[Member, ...], Message, Callable[[Member], bool]], object]
"""Gives a message to connections in a channel, in slices, each if it is still wanted by then."""


class Watcher(Protocol):
    """Who hears of members, over all processes."""

    def member_added(self, channel: str, user_id: str) -> None:
        """A user's first connection has come; it came here."""

    def member_removed(self, channel: str, user_id: str) -> None:
        """A user's last connection has gone; it was here."""

    def member_count(self, channel: str, person: Person, count: int) -> None:
        """How many connections of a user are in this process has changed."""


class Presence:
    """All presence channels of an application.

    Members here are told of each member's first connection and of the last one, wherever those
    are.
    """

    def __init__(self, watcher: Watcher, give: Give) -> None:
        self._watcher = watcher
        self._give = give
        self._rosters: dict[str, Roster] = {}
        self._here: dict[str, dict[Member, Person]] = {}
        self._channels_of: dict[Member, set[str]] = {}

    def __len__(self) -> int:
        """How many channels have members."""
        return len(self._rosters)

    def members(self, channel: str) -> Mapping[str, object]:
        """The members' information by user id."""
        roster = self._rosters.get(channel)
        return roster.members if roster is not None else {}

    def audience(self, channel: str) -> int:
        """How many connections here are told of who comes and goes."""
        return len(self._here.get(channel, ()))

    def join(self, channel: str, subscriber: Member, person: Person) -> None:
        """A connection has come. Harmless when it was there."""
        here = self._here.setdefault(channel, {})
        if subscriber in here:
            return
        roster = self._rosters.setdefault(channel, Roster())
        is_new = roster.join(person)
        if is_new:
            self._tell_added(channel, person)
        here[subscriber] = person
        self._channels_of.setdefault(subscriber, set()).add(channel)
        self._watcher.member_count(channel, person, roster.count(person.user_id))
        if is_new:
            self._watcher.member_added(channel, person.user_id)

    def leave(self, channel: str, subscriber: Member) -> None:
        """A connection has gone. Harmless when it was not there."""
        here = self._here.get(channel, {})
        person = here.pop(subscriber, None)
        if person is None:
            return
        if not here:
            del self._here[channel]
        self._channels_of[subscriber].discard(channel)
        if not self._channels_of[subscriber]:
            del self._channels_of[subscriber]
        roster = self._rosters[channel]
        is_gone = roster.leave(person.user_id)
        self._watcher.member_count(channel, person, roster.count(person.user_id))
        if is_gone:
            self._removed(channel, person.user_id)
            self._watcher.member_removed(channel, person.user_id)

    def forget(self, subscriber: Member) -> None:
        """A connection has gone from everywhere."""
        for channel in tuple(self._channels_of.get(subscriber, ())):
            self.leave(channel, subscriber)

    def person(self, channel: str, subscriber: Member) -> Person | None:
        """Who a subscriber is in a channel; None if it is not there."""
        return self._here.get(channel, {}).get(subscriber)

    # -- what other processes say

    def counts_here(self) -> list[tuple[str, Person, int]]:
        """The users with connections in this process, and how many, in each channel."""
        return [
            (channel, person, count)
            for channel, roster in self._rosters.items()
            for person, count in roster.of_node(HERE)
        ]

    def set_node(self, node: str, channel: str, person: Person, count: int) -> None:
        """A node says how many connections a user has there, 0 for none any more."""
        if count <= 0 and channel not in self._rosters:
            return
        roster = self._rosters.setdefault(channel, Roster())
        was_there = person.user_id in roster
        roster.set_node(node, person, count)
        if not was_there and person.user_id in roster:
            self._tell_added(channel, person)
        elif was_there and person.user_id not in roster:
            self._removed(channel, person.user_id)

    def drop_node(self, node: str) -> list[tuple[str, str]]:
        """A node is gone; the (channel, user id) that had no other connection."""
        gone = [
            (channel, user_id)
            for channel, roster in self._rosters.items()
            for user_id in roster.drop_node(node)
        ]
        for channel, user_id in gone:
            self._removed(channel, user_id)
        return gone

    # -- telling

    def _tell_added(self, channel: str, person: Person) -> None:
        about = {"user_id": person.user_id, "user_info": person.info}
        self._tell(channel, told.event(told.MEMBER_ADDED, about, channel=channel))

    def _removed(self, channel: str, user_id: str) -> None:
        if not self._rosters[channel]:
            del self._rosters[channel]
        about = {"user_id": user_id}
        self._tell(channel, told.event(told.MEMBER_REMOVED, about, channel=channel))

    def _tell(self, channel: str, event: bytes) -> None:
        here = self._here.get(channel)
        if here:
            self._give(channel, tuple(here), Message(event), partial(self._is_in, channel))

    def _is_in(self, channel: str, subscriber: Member) -> bool:
        return subscriber in self._here.get(channel, ())
