"""What channels and users may be called. Pure."""

from __future__ import annotations

import re

from wsgate.channels.errors import ChannelError

LONGEST_CHANNEL = 164
LONGEST_USER = 128

OF_DIALECT = "\x1f"
"""Before the names of users that a dialect has of its own: no script or hook can write it."""

# Pusher's alphabet and length, so that every dialect may use every channel.
_CHANNEL = re.compile(r"[A-Za-z0-9_\-=@,.;:]{1,164}")


def check_channel(name: str) -> str:
    """Give `name` back if a channel may have it: 1 to 164 letters, digits, or any of `_-=@,.;:`.

    Raises:
        ChannelError: it may not.
    """
    if _CHANNEL.fullmatch(name) is None:
        raise ChannelError(
            f"{name[:LONGEST_CHANNEL]!r} is no name for a channel; write 1 to {LONGEST_CHANNEL} "
            "letters, digits or _-=@,.;:"
        )
    return name


def is_plain_channel(name: str) -> bool:
    """Whether `name` can stand in a list of an answer's header: without `,` and `;`."""
    return _CHANNEL.fullmatch(name) is not None and not {",", ";"} & set(name)


def check_user(user: str) -> str:
    """Give `user` back if a script or a hook may call one so: 1 to 128 printable characters.

    Raises:
        ChannelError: it may not.
    """
    if not (1 <= len(user) <= LONGEST_USER and user.isprintable()):
        raise ChannelError(
            f"{user[:LONGEST_USER]!r} is no name for a user; write 1 to {LONGEST_USER} printable "
            "characters"
        )
    return user
