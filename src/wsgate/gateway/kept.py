"""What PHP has said of a connection, and is told again with every message of it."""

from __future__ import annotations

from wsgate.channels import NO_CHANNELS, ChannelLimits, ChannelSet
from wsgate.fastcgi import encode_params


class Kept:
    """The user, the channels and the variables of one connection.

    Most connections have none and share `NOTHING_KEPT`, which must not be changed; `of_its_own`
    gives one that may.
    """

    __slots__ = ("base", "channels", "user", "variables")

    def __init__(self, params: bytes = b"") -> None:
        self.base = params
        """The connection's params, without what it keeps."""
        self.user: str | None = None
        self.channels: ChannelSet = NO_CHANNELS
        self.variables: dict[str, str] = {}
        """Values by name in upper case."""

    def of_its_own(self, params: bytes) -> Kept:
        """This one, if it is a connection's own; else a new one, for one with these params."""
        return Kept(params) if self is NOTHING_KEPT else self

    def set(self, name: str, value: str, limits: ChannelLimits) -> str:
        """Keep a variable, or forget it where `value` is empty.

        The result is empty; or the limit that stands against it, and then nothing has changed.
        """
        if not value:
            self.variables.pop(name, None)
            return ""
        after = {**self.variables, name: value}
        if len(after) > limits.variables_per_connection:
            return "variables_per_connection"
        size = sum(len(name) + len(value.encode()) for name, value in after.items())
        if size > limits.variable_bytes_per_connection:
            return "variable_bytes_per_connection"
        self.variables = after
        return ""

    def params(self) -> bytes:
        """The connection's params, with its user and its variables behind them."""
        pairs = [(f"WSGATE_VAR_{name}", value) for name, value in self.variables.items()]
        if self.user is not None:
            pairs.append(("WSGATE_USER", self.user))
        return self.base + encode_params((name.encode(), value.encode()) for name, value in pairs)


NOTHING_KEPT = Kept()
"""What every connection has at first."""
