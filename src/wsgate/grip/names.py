"""GRIP's channels, whose names may be any text, as channels of the gateway. Pure."""

from __future__ import annotations

from wsgate.channels import ChannelError, check_channel

# Without the `;`, which stands in the names of the dialect Pusher's channels: they are not GRIP's.
_SAME = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-@,.:")


def channel_name(name: str, prefix: str = "") -> str:
    """The gateway's channel for `name`, with the route's `prefix` in front.

    A byte that the gateway's names cannot have, or `;`, becomes `=` and two hexadecimal digits,
    and so does `=` itself, so that two names never meet: `room/1` is `room=2F1`.

    Raises:
        ChannelError: it is empty or too long.
    """
    if not name:
        raise ChannelError("a channel has a name")
    return check_channel(prefix + "".join(map(_escaped, name)))


def _escaped(character: str) -> str:
    if character in _SAME:
        return character
    return "".join(f"={byte:02X}" for byte in character.encode("utf-8", "surrogatepass"))
