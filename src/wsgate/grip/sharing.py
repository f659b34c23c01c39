"""What all connections of a route with the dialect GRIP have in common."""

from __future__ import annotations

from wsgate import cgi
from wsgate.fastcgi import encode_params
from wsgate.gateway import Register
from wsgate.grip.request import FIXED
from wsgate.grip.signing import Signature

MAX_BATCH = 200_000
"""Bytes of messages in one request, unless a single one is longer; Pushpin's too."""


class Shared:
    """What a route of this dialect lends its connections.

    Args:
        register: of all connections: their opening is counted there, and a stop waits for what is
            still to be told of their end.
        signature: makes `Grip-Sig`; None: it is not sent.
        prefix: stands before the name of each channel.
    """

    def __init__(
        self,
        register: Register,
        *,
        signature: Signature | None = None,
        prefix: str = "",
    ) -> None:
        self.timeouts = register.timeouts
        self.departures = register.departures
        self.connects = register.connects
        self.signature = signature
        self.prefix = prefix
        self._script: cgi.Script | None = None
        self._fixed = b""

    def fixed_params(self, script: cgi.Script) -> bytes:
        """The PARAMS records that every request begins with."""
        # By identity: a script is made once, and once more by a reload.
        if script is not self._script:
            self._fixed = encode_params([*cgi.script_params(script), *FIXED])
            self._script = script
        return self._fixed
