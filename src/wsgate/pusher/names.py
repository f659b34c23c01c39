"""Channel names, whose prefix says what kind of channel it is. Pure.

Pusher's documentation, "Channels" and "Channel naming conventions".
"""

from __future__ import annotations

import re

LONGEST = 164
"""Characters in a channel's name, as Pusher has it."""

_NAME = re.compile(r"[-a-zA-Z0-9_=@,.;]+")
_TO_USER = "#server-to-user-"


def is_channel(name: str) -> bool:
    """Whether a client may subscribe to, or an application publish to, a channel of this name.

    Channels of a user (`#server-to-user-42`) are not among them; see `user_of`.
    """
    return len(name) <= LONGEST and _NAME.fullmatch(name) is not None


def user_of(name: str) -> str | None:
    """The user whose own channel this is, None if it is no such channel."""
    if not name.startswith(_TO_USER):
        return None
    user = name.removeprefix(_TO_USER)
    return user if is_channel(user) else None


def channel_of_user(user: str) -> str:
    """The channel that all connections of a signed-in user get, and nobody can subscribe to."""
    return _TO_USER + user


def is_private(name: str) -> bool:
    """Whether a subscription needs the application's signature."""
    return name.startswith(("private-", "presence-"))


def is_presence(name: str) -> bool:
    """Whether subscribers are told who the others are."""
    return name.startswith("presence-")


def is_encrypted(name: str) -> bool:
    """Whether the data is encrypted between application and clients; only they can read it."""
    return name.startswith("private-encrypted-")


def is_cache(name: str) -> bool:
    """Whether a new subscriber gets the last event at once."""
    return name.startswith(_CACHE)


_CACHE = ("cache-", "private-cache-", "presence-cache-", "private-encrypted-cache-")


def takes_client_events(name: str) -> bool:
    """Whether clients may send events of their own: on private and presence channels only."""
    return is_private(name) and not is_encrypted(name)
