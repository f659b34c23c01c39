"""The guarded handshake: what may become a WebSocket, decided before Autobahn sees a byte. Pure.

Autobahn's own header parser splits lines at bytes that are no line end in HTTP, has no size limit,
and starts anew on every byte that arrives while a decision is pending. So the request's head is
read by `wsgate.http1`, checked here, and Autobahn gets a head made from nothing but the few checked
values it needs; where no extension is to be negotiated, none at all.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Collection, Sequence
from hashlib import sha1
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

from wsgate.http1 import HEAD_END, BadRequest, RequestHead


class Refused(Exception):
    """The handshake is refused with the HTTP `status`; `headers` go with the answer.

    `str()` is a fixed text without anything the client sent. `limit` is the setting that was
    exceeded, if it was one.
    """

    def __init__(
        self,
        status: int,
        reason: str,
        headers: tuple[tuple[str, str], ...] = (),
        limit: str = "",
    ) -> None:
        super().__init__(reason)
        self.status = status
        self.headers = headers
        self.limit = limit


class HeadBuffer:
    """Collects the bytes of one request's head, up to a limit.

    Each byte is searched for the end of the head once, however the stream is split.
    """

    __slots__ = ("_buffer", "_limit")

    def __init__(self, limit: int) -> None:
        self._buffer = bytearray()
        self._limit = limit

    def receive_data(self, data: bytes) -> tuple[bytes, bytes] | None:
        """Add bytes; give (head with its empty line, the bytes after it) once it is whole.

        Raises:
            BadRequest: 431 when the head is longer than the limit, whether or not it ends.
        """
        searched = max(0, len(self._buffer) - len(HEAD_END) + 1)
        self._buffer += data
        end = self._buffer.find(HEAD_END, searched)
        size = end + len(HEAD_END) if end >= 0 else len(self._buffer)
        if size > self._limit:
            raise BadRequest(431, "Request header too large", "max_header_bytes")
        if end < 0:
            return None
        return bytes(self._buffer[:size]), bytes(self._buffer[size:])


def wants_websocket(head: RequestHead) -> bool:
    """Whether the request asks for an upgrade to WebSocket at all; otherwise it is plain HTTP."""
    return any(token.lower() == b"websocket" for token in head.tokens(b"upgrade"))


# A second one of these would let two readers of the same request see different values.
_SINGLE = (
    b"host",
    b"origin",
    b"authorization",
    b"sec-websocket-key",
    b"sec-websocket-version",
)

# RFC 6455 §4.1: base64 of 16 bytes. The last character before the padding carries 2 bits.
_KEY = re.compile(rb"[A-Za-z0-9+/]{21}[AQgw]==")
_HOST = re.compile(rb"(?:\[[0-9A-Fa-f:.]+\]|[0-9A-Za-z._~-]+)(?::[0-9]{1,5})?")


def check_request(head: RequestHead) -> str:
    """Check what holds for every request; give its path, percent-decoded.

    Raises:
        Refused: 400 for a repeated field, a request with a body, a target that is not a path, or a
            bad Host; 405 for a method other than GET and HEAD; 505 for another HTTP version.
    """
    if head.version != b"HTTP/1.1":
        raise Refused(505, "Only HTTP/1.1 is spoken here")
    if head.method not in (b"GET", b"HEAD"):
        raise Refused(405, "Only GET is allowed here", (("Allow", "GET, HEAD"),))
    for name in _SINGLE:
        if len(head.values(name)) > 1:
            raise Refused(400, "A header field that must be single is repeated")
    if head.values(b"transfer-encoding") or head.value(b"content-length") not in (None, b"0"):
        raise Refused(400, "A request with a body is not accepted here")
    if not _HOST.fullmatch(head.value(b"host") or b""):
        raise Refused(400, "The Host header is missing or malformed")
    return _path(head.target)


def _path(target: bytes) -> str:
    if not target.startswith(b"/") or b"#" in target:
        raise Refused(400, "The request target must be a path")
    path = unquote_to_bytes(target.partition(b"?")[0])
    if any(byte < 0x20 or byte == 0x7F for byte in path):
        raise Refused(400, "The path contains a control character")
    return path.decode("utf-8", "surrogateescape")


def check_upgrade(head: RequestHead) -> None:
    """Check the fields of a WebSocket handshake, RFC 6455 §4.2.1.

    Raises:
        Refused: 405 for HEAD, 426 with the version we speak, 400 for a bad key or Connection.
    """
    if head.method != b"GET":
        raise Refused(405, "A WebSocket handshake is a GET", (("Allow", "GET"),))
    if not any(token.lower() == b"upgrade" for token in head.tokens(b"connection")):
        raise Refused(400, "The Connection header does not ask for the upgrade")
    if head.value(b"sec-websocket-version") != b"13":
        # RFC 6455 §4.4
        raise Refused(
            426, "Only WebSocket version 13 is spoken here", (("Sec-WebSocket-Version", "13"),)
        )
    if not _KEY.fullmatch(head.value(b"sec-websocket-key") or b""):
        raise Refused(400, "The Sec-WebSocket-Key is missing or malformed")


def check_origin(head: RequestHead, allowed: Collection[str], secure: bool | None = None) -> None:
    """Refuse browsers on pages of other sites (RFC 6455 §10.2).

    Args:
        head: the request.
        allowed: origins as browsers send them (`https://example.com`), `null`, or `*` for all.
            Empty: the host that was asked for.
        secure: whether the client speaks TLS, which then must be the page's scheme too; None where
            that is not known, since a proxy in front may have taken TLS off.

    Raises:
        Refused: 403. A request without Origin is accepted: only browsers send one.
    """
    origin = head.value(b"origin")
    if origin is None or "*" in allowed:
        return
    text = origin.decode("latin-1").lower()
    if allowed:
        if text in allowed:
            return
    elif _same_host(text, secure, (head.value(b"host") or b"").decode("latin-1").lower()):
        return
    raise Refused(403, "This origin is not allowed")


_ORIGIN = re.compile(r"(https?)://([^/@?#\\]+)")
_DEFAULT_PORT = {"http": ":80", "https": ":443"}


def _same_host(origin: str, secure: bool | None, host: str) -> bool:
    match = _ORIGIN.fullmatch(origin)
    if match is None or secure not in (None, match[1] == "https"):
        return False
    port = _DEFAULT_PORT[match[1]]
    return match[2].removesuffix(port) == host.removesuffix(port)


def choose_subprotocol(head: RequestHead, spoken: Sequence[str]) -> str | None:
    """The first subprotocol of the client's list that the route speaks, or None.

    RFC 6455 §4.2.2: without one in common the connection goes on without; the client decides.
    """
    for token in head.tokens(b"sec-websocket-protocol"):
        name = token.decode("latin-1")
        if name in spoken:
            return name
    return None


class Upgrade(NamedTuple):
    """An accepted handshake.

    `headers` go into the 101 beside those of the handshake, their values as Latin-1 text.
    """

    head: RequestHead
    subprotocol: str | None
    headers: tuple[tuple[str, str], ...] = ()


# Offers of permessage-deflate as RFC 7692 §7.1 writes them, nothing odd in between.
_EXTENSIONS = re.compile(rb"[A-Za-z0-9_\-;=,\" \t]*")


_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


def accept_response(upgrade: Upgrade) -> bytes:
    """The 101 of a handshake without extensions, RFC 6455 §4.2.2."""
    key = upgrade.head.value(b"sec-websocket-key") or b""
    lines = [
        b"HTTP/1.1 101 Switching Protocols",
        b"Upgrade: WebSocket",
        b"Connection: Upgrade",
    ]
    if upgrade.subprotocol is not None:
        lines.append(b"Sec-WebSocket-Protocol: " + upgrade.subprotocol.encode("latin-1"))
    # SHA-1 is what the RFC asks for; nothing secret depends on it.
    accept = b64encode(sha1(key + _GUID, usedforsecurity=False).digest())
    lines.append(b"Sec-WebSocket-Accept: " + accept)
    lines += [f"{name}: {value}".encode("latin-1") for name, value in upgrade.headers]
    return b"\r\n".join(lines) + HEAD_END


def autobahn_head(upgrade: Upgrade) -> bytes:
    """The head that Autobahn gets instead of the client's: checked and fixed values only.

    Extensions are passed on, unless anything in them is malformed, which means no extension
    (RFC 6455 §9.1).
    """
    key = upgrade.head.value(b"sec-websocket-key") or b""
    lines = [
        b"GET / HTTP/1.1",
        b"Host: wsgate",
        b"Upgrade: websocket",
        b"Connection: Upgrade",
        b"Sec-WebSocket-Version: 13",
        b"Sec-WebSocket-Key: " + key,
    ]
    if upgrade.subprotocol is not None:
        lines.append(b"Sec-WebSocket-Protocol: " + upgrade.subprotocol.encode("latin-1"))
    extensions = b", ".join(upgrade.head.values(b"sec-websocket-extensions"))
    if extensions and _EXTENSIONS.fullmatch(extensions):
        lines.append(b"Sec-WebSocket-Extensions: " + extensions)
    return b"\r\n".join(lines) + HEAD_END
