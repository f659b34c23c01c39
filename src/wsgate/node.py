"""The name of this process among all gateways, and the ids of its connections."""

from __future__ import annotations

import secrets

NODE_DIGITS = 8

NODE = secrets.token_hex(NODE_DIGITS // 2)
"""8 hex digits, other ones at every start: whoever has a connection's id knows whose it is."""


def new_connection_id() -> str:
    """32 hex digits: those of `NODE`, then 24 (96 bits) that nobody can guess."""
    return NODE + secrets.token_hex(12)


def node_of(connection_id: str) -> str:
    """The `NODE` of the process that made the id."""
    return connection_id[:NODE_DIGITS]
