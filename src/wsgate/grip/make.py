"""GRIP as the settings ask for it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from wsgate.channels import Channels
from wsgate.config import Route, Settings
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
    key = _key(route)
    signature = None if key is None else Signature(key, route.grip_iss, register.wall)
    return Grip(register, signature=signature, prefix=route.grip_prefix)


class Publishing:
    """`/publish/` for the routes that speak GRIP, through all changes of the settings.

    Raises:
        SecretUnusable: a key cannot be read.
    """

    def __init__(self, reactor: Any, asked: Settings) -> None:
        self._reactor = reactor
        self._publishers = Publishers()
        self.follow(asked)()

    def endpoints(self, source: Callable[[], Channels]) -> list[Endpoint]:
        """Those of a control interface; `source` gives the channels, or raises Refusal."""
        return publishing(source, self._publishers, Timeouts(self._reactor))

    def follow(self, asked: Settings) -> Callable[[], None]:
        """Read the keys of other settings; what it gives back lets these publish, and no others.

        Raises:
            SecretUnusable: one cannot be read. Nothing has changed.
        """
        spoken = [route for route in asked.routes if route.dialect == "grip"]
        routes = [(_key(route), route.grip_prefix) for route in spoken]
        return partial(setattr, self._publishers, "routes", routes)


def _key(route: Route) -> KeyFile | None:
    return KeyFile(route.grip_key_file) if route.grip_key_file is not None else None
