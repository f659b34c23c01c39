"""GRIP as the settings ask for it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from wsgate.channels import Channels
from wsgate.config import Route
from wsgate.control.answers import Endpoint
from wsgate.gateway import Register
from wsgate.grip.dialect import Grip
from wsgate.grip.keys import KeyFile
from wsgate.grip.publishing import Publishers, publishing
from wsgate.grip.signing import Signature
from wsgate.timeouts import Timeouts


def make_grip(route: Route, register: Register) -> Grip:
    """What makes the conversations of a route.

    Args:
        route: of this dialect.
        register: of all connections.

    Raises:
        SecretUnusable: its key cannot be read.
    """
    signature = None
    if route.grip_key_file is not None:
        signature = Signature(KeyFile(route.grip_key_file), route.grip_iss, register.wall)
    return Grip(register, signature=signature, prefix=route.grip_prefix)


def make_publishing(
    reactor: Any, routes: Sequence[Route], source: Callable[[], Channels]
) -> list[Endpoint]:
    """`/publish/` for those of `routes` that speak GRIP; nothing if none does.

    `source` gives the channels, or raises Refusal.

    Raises:
        SecretUnusable: a key cannot be read.
    """
    spoken = [route for route in routes if route.dialect == "grip"]
    if not spoken:
        return []
    keys = [(KeyFile(r.grip_key_file), r.grip_prefix) for r in spoken if r.grip_key_file]
    return publishing(source, Publishers(keys), Timeouts(reactor))
