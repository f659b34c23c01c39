"""Who is in one presence channel, over all processes. Pure.

A user may have several connections, in several processes. What counts is the first to come and the
last to go.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import NamedTuple

from wsgate.pusher.asked import BadMessage, json_object

LONGEST_USER_ID = 128


class BadMember(Exception):
    """The channel data names nobody; `str()` is a fixed text for the client."""


class Person(NamedTuple):
    """One member: `info` is any JSON value, None where there is none."""

    user_id: str
    info: object


def person_of(channel_data: str | None) -> Person:
    """The member that signed channel data names; a user id that is a number becomes a text.

    Raises:
        BadMember: it is no JSON object, or has no `user_id` of 1 to 128 characters.
    """
    try:
        data = json_object(channel_data or "")
    except BadMessage:
        raise BadMember("channel_data is no JSON object") from None
    user_id = data.get("user_id")
    if isinstance(user_id, int) and not isinstance(user_id, bool):
        user_id = json.dumps(user_id)
    if not isinstance(user_id, str) or not 1 <= len(user_id) <= LONGEST_USER_ID:
        raise BadMember(f"channel_data needs a user_id of 1 to {LONGEST_USER_ID} characters")
    return Person(user_id, data.get("user_info"))


HERE = ""
"""Stands for this process among the nodes."""


class Roster:
    """The members of one channel: for each user its information, and connections on each node."""

    __slots__ = ("_counts", "_infos")

    def __init__(self) -> None:
        self._counts: dict[str, dict[str, int]] = {}
        self._infos: dict[str, object] = {}

    def __len__(self) -> int:
        """How many users there are."""
        return len(self._infos)

    def __contains__(self, user_id: str) -> bool:
        return user_id in self._infos

    @property
    def members(self) -> Mapping[str, object]:
        """Information by user id, in the order in which they came."""
        return self._infos

    def count(self, user_id: str, node: str = HERE) -> int:
        """How many connections a user has on a node."""
        return self._counts.get(user_id, {}).get(node, 0)

    def join(self, person: Person, node: str = HERE) -> bool:
        """Count one connection more; whether the user was not there before."""
        nodes = self._counts.setdefault(person.user_id, {})
        nodes[node] = nodes.get(node, 0) + 1
        if person.user_id in self._infos:
            return False
        self._infos[person.user_id] = person.info
        return True

    def leave(self, user_id: str, node: str = HERE) -> bool:
        """Count one connection less; whether it was the user's last. Harmless for a stranger."""
        nodes = self._counts.get(user_id, {})
        if node not in nodes:
            return False
        nodes[node] -= 1
        if nodes[node]:
            return False
        del nodes[node]
        return self._forget_if_gone(user_id)

    def set_node(self, node: str, person: Person, count: int) -> None:
        """A node says how many connections a user has there, 0 for none any more."""
        if count > 0:
            self._counts.setdefault(person.user_id, {})[node] = count
            self._infos.setdefault(person.user_id, person.info)
        elif person.user_id in self._counts:
            self._counts[person.user_id].pop(node, None)
            self._forget_if_gone(person.user_id)

    def drop_node(self, node: str) -> list[str]:
        """A node is gone with its connections; the users who had no others."""
        for nodes in self._counts.values():
            nodes.pop(node, None)
        return [user_id for user_id in tuple(self._counts) if self._forget_if_gone(user_id)]

    def of_node(self, node: str = HERE) -> list[tuple[Person, int]]:
        """The users with connections on a node, and how many."""
        return [
            (Person(user_id, self._infos[user_id]), nodes[node])
            for user_id, nodes in self._counts.items()
            if node in nodes
        ]

    def _forget_if_gone(self, user_id: str) -> bool:
        if self._counts[user_id]:
            return False
        del self._counts[user_id]
        del self._infos[user_id]
        return True
