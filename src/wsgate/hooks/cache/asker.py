"""What was known of a connection when PHP was asked. Pure."""

from __future__ import annotations

from wsgate.hooks.cache.keys import variant_key
from wsgate.hooks.connection import Connection


class Asker:
    """One message's connection, as its answer may vary on it.

    Hooks and PHP may bind another user or set other params while the answer is waited for; then
    nobody can say which of the two PHP has seen, and the answer is nobody else's.
    """

    __slots__ = ("_connection", "headers", "params", "user", "variables")

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.headers = connection.headers
        self.user = connection.user
        self.variables = dict(connection.variables)
        self.params = dict(connection.params)

    def variant(self, key: bytes, names: tuple[str, ...]) -> bytes | None:
        """The key of the variant that it was asked for; None if that is not certain."""
        variant = variant_key(key, names, self)
        return variant if variant == variant_key(key, names, self._connection) else None
