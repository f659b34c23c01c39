"""Foreign bytes as one harmless line of a log. Pure."""

from __future__ import annotations

import re

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


def one_line(text: bytes | str, limit: int = 1024) -> str:
    """`text` as one printable line of at most about `limit` characters.

    Line ends become ` | `, other control characters `\\xNN`; so nothing a client or a script sends
    can forge a log line or reach a terminal. Bytes are read as UTF-8, with `\\xNN` for the rest.
    """
    if isinstance(text, bytes):
        text = text[: 4 * limit].decode("utf-8", "backslashreplace")
    text = " | ".join(line.strip() for line in text.splitlines() if line.strip())
    text = _CONTROL.sub(lambda match: f"\\x{ord(match[0]):02x}", text)
    return text if len(text) <= limit else text[: limit - 1] + "…"
