"""A connection's id as the protocol has it: two decimal numbers with a dot between. Pure.

It is the connection id in other digits, so that wherever it comes back, on whichever machine, the
connection is known from it, and it is as unguessable.
"""

from __future__ import annotations

import re

_HALF = 16
_ID = re.compile(r"([0-9]{1,20})\.([0-9]{1,20})", re.ASCII)


def socket_id_of(connection_id: str) -> str:
    """The socket id of a connection id, which is 32 hexadecimal digits."""
    return f"{int(connection_id[:_HALF], 16)}.{int(connection_id[_HALF:], 16)}"


def connection_id_of(socket_id: str) -> str | None:
    """The connection id of a socket id; None for a text that is none."""
    match = _ID.fullmatch(socket_id)
    if match is None:
        return None
    halves = [int(number) for number in match.groups()]
    if any(half >= 1 << 64 for half in halves):
        return None
    return "".join(f"{half:0{_HALF}x}" for half in halves)
