"""The error of this room."""

from __future__ import annotations


class TLSError(ValueError):
    """A `--port` or a certificate that cannot be used.

    `str()` is one line: the option, its value, what is wrong and the mend.
    """
