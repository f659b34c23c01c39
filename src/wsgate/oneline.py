"""Foreign bytes as one harmless line of a log. Pure."""

from __future__ import annotations


def one_line(text: bytes | str, limit: int = 1024) -> str:
    """`text` as one printable line of at most `limit` characters.

    Line ends become ` | `, and what Unicode calls neither visible nor a space `\\xNN`, `\\uNNNN` or
    `\\UNNNNNNNN`: control characters, those that turn the direction of writing, half a surrogate
    pair, which no log file could hold. So nothing a client or a script sends can forge a log line
    or reach a terminal. Bytes are read as UTF-8, with `\\xNN` for the rest.
    """
    if isinstance(text, bytes):
        text = text[: 4 * limit].decode("utf-8", "backslashreplace")
    text = " | ".join(line.strip() for line in text.splitlines() if line.strip())
    if not text.isprintable():
        text = "".join(each if each.isprintable() else _escaped(each) for each in text)
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _escaped(character: str) -> str:
    number = ord(character)
    if number < 0x100:
        return f"\\x{number:02x}"
    return f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"
