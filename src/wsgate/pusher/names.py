"""Channel names, whose prefix says what kind of channel it is. Pure.

Pusher's documentation, "Channels" and "Channel naming conventions".
"""

from __future__ import annotations

import re
from hashlib import sha256

from wsgate.channels import OF_DIALECT

LONGEST = 164
"""Characters in a channel's name, as Pusher has it."""

_LONGEST_USER = 128
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


def is_user(user: str) -> bool:
    """Whether a user may have this id: it becomes a part of a channel's name."""
    return len(user) <= _LONGEST_USER and is_channel(user)


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


def prefix(app_id: str) -> str:
    """What the names of all channels of an application begin with among those of all dialects.

    No client of an application can write the `:`, so applications are kept apart; no answer of a
    script the `;`, and GRIP escapes it, so nobody gets there who was not let in.
    """
    return f"{app_id};:"


def inner(app_id: str, channel: str) -> str:
    """What a channel of an application is called among the channels of all dialects.

    164 characters at most.
    """
    user = user_of(channel)
    name = prefix(app_id) + (channel if user is None else f":{user}")
    if len(name) <= LONGEST:
        return name
    return f"{prefix(app_id)}::{sha256(channel.encode()).hexdigest()}"


def of_nodes(app_id: str) -> str:
    """The channel in which the processes of an application speak to each other."""
    return f"{prefix(app_id)}:::nodes"


def outer(app_id: str, inner_name: str) -> str | None:
    """The application's name of a channel; None for others' channels, users' and long ones."""
    name = inner_name.removeprefix(prefix(app_id))
    return name if name != inner_name and not name.startswith(":") else None


def inner_user(app_id: str, user: str) -> str:
    """What a signed-in user of an application is called among the users of all dialects.

    Never as one of a plain route, or of another application.
    """
    name = f"{app_id}:{user}"
    if len(name) > _LONGEST_USER:
        name = f"{app_id}::{sha256(user.encode()).hexdigest()}"
    return OF_DIALECT + name
