"""UTF-8 that comes in pieces. Pure."""

from __future__ import annotations

from codecs import utf_8_decode


class TextCheck:
    """Whether what came so far can be the beginning of valid UTF-8 (RFC 3629).

    Each piece is looked at once, when it comes, so that a text of many megabytes is never looked at
    in one go. Besides the last one to three bytes nothing is kept.
    """

    __slots__ = ("_unfinished", "is_valid")

    def __init__(self) -> None:
        self.is_valid = True
        """False as soon as no continuation could make it valid, or one byte later; it stays so."""
        self._unfinished = b""

    @property
    def is_whole(self) -> bool:
        """Whether it is valid if nothing follows: no character has only begun."""
        return self.is_valid and not self._unfinished

    def feed(self, piece: bytes) -> None:
        """Look at what comes next."""
        if not self.is_valid or (not self._unfinished and piece.isascii()):
            return
        if self._unfinished:
            piece = self._unfinished + piece
        try:
            _, used = utf_8_decode(piece, "strict", False)
        except UnicodeDecodeError:
            self.is_valid = False
            self._unfinished = b""
        else:
            self._unfinished = piece[used:]
