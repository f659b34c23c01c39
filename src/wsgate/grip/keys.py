"""A key that may be exchanged while it is in use."""

from __future__ import annotations

from wsgate.grip.signing import Key, read_key
from wsgate.secretfile import SecretFile


class KeyFile:
    """The key in a file, read anew when the file has changed.

    Raises:
        SecretUnusable: it holds none at first. Later the one before stays, and the log says so.
    """

    def __init__(self, path: str) -> None:
        self._file = SecretFile(path, read_key)

    @property
    def key(self) -> Key:
        """The key that is in the file."""
        return self._file.secret
