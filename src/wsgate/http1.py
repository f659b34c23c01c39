"""The head of an HTTP/1.1 request, read strictly, and small responses, written whole. Pure.

A gateway that turns header fields into CGI variables must never see a field that the client did not
send as one. So nothing is repaired here: a bare CR or LF, a control character, a folded line or a
space before the colon ends the request with 400.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from http import HTTPStatus
from typing import NamedTuple


class BadRequest(Exception):
    """The request's head cannot be accepted.

    `status` is the HTTP status to answer with, `str()` of it a fixed text that holds nothing of
    what the client sent. `limit` is the setting that was exceeded, if it was one.
    """

    def __init__(self, status: int, reason: str, limit: str = "") -> None:
        super().__init__(reason)
        self.status = status
        self.limit = limit


class RequestHead(NamedTuple):
    """Request line and header fields, RFC 9112 §3 and §5.

    `target` is as sent. `headers` are (name in lower case, value without surrounding space) in the
    order sent; duplicates are kept.
    """

    method: bytes
    target: bytes
    version: bytes
    headers: tuple[tuple[bytes, bytes], ...]

    def values(self, name: bytes) -> list[bytes]:
        """All values of the field `name` (lower case), in the order sent."""
        return [value for field, value in self.headers if field == name]

    def value(self, name: bytes) -> bytes | None:
        """The first value of the field `name` (lower case), or None."""
        for field, value in self.headers:
            if field == name:
                return value
        return None

    def tokens(self, name: bytes) -> list[bytes]:
        """The comma-separated elements of all fields `name` (RFC 9110 §5.6.1), no empty ones."""
        parts = b",".join(self.values(name)).split(b",")
        return [part.strip(b" \t") for part in parts if part.strip(b" \t")]


# RFC 9110 §5.6.2 (token) and §5.5 (field values: no control characters but the tab).
_TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_VALUE = re.compile(rb"[\t\x20-\x7e\x80-\xff]*")
_REQUEST_LINE = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+) ([\x21-\x7e]+) (HTTP/[0-9]\.[0-9])")

HEAD_END = b"\r\n\r\n"


def parse_request_head(head: bytes, *, max_lines: int) -> RequestHead:
    """Read a request's head, from the first byte up to and with the empty line.

    Args:
        head: ends with CR LF CR LF and contains it only there.
        max_lines: how many header fields are accepted; one more is a 431.

    Raises:
        BadRequest: 400 for anything RFC 9112 does not allow, 431 for too many fields.
    """
    request_line, *lines = head[: -len(HEAD_END)].split(b"\r\n")
    if len(lines) > max_lines:
        raise BadRequest(431, "Too many header fields", "max_header_lines")
    match = _REQUEST_LINE.fullmatch(request_line)
    if match is None:
        raise BadRequest(400, "Malformed request line")
    method, target, version = match.groups()
    return RequestHead(method, target, version, tuple(map(_field, lines)))


def _field(line: bytes) -> tuple[bytes, bytes]:
    name, colon, value = line.partition(b":")
    # RFC 9112 §5.1: no space between name and colon. §5.2: no folding. A stray CR or LF is no
    # field character, so it fails here too.
    if not colon or not _TOKEN.fullmatch(name) or not _VALUE.fullmatch(value):
        raise BadRequest(400, "Malformed header field")
    return name.lower(), value.strip(b" \t")


def response(status: int, headers: Iterable[tuple[str, str]], body: bytes) -> bytes:
    """A whole HTTP/1.1 response that ends its connection.

    `headers` are ours or the backend's (never a client's text), without control characters, as
    Latin-1 text; Content-Length and Connection are added.
    """
    try:
        phrase = HTTPStatus(status).phrase
    except ValueError:
        phrase = "Unknown"
    lines = [f"HTTP/1.1 {status} {phrase}"]
    lines += [f"{name}: {value}" for name, value in headers]
    lines += [f"Content-Length: {len(body)}", "Connection: close", "", ""]
    return "\r\n".join(lines).encode("latin-1") + body
