"""CGI/1.1 both ways (RFC 3875): a client's request as variables, PHP's output as a response. Pure.

The names and meanings are those of nginx's `fastcgi_params`, so that a script written for nginx and
PHP-FPM finds what it expects. A client can fill only `HTTP_*`, `QUERY_STRING` and `REQUEST_URI`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import NamedTuple

from wsgate import __version__
from wsgate.http1 import RequestHead

Pairs = list[tuple[bytes, bytes]]


class Address(NamedTuple):
    """One end of a connection: an IP address and a port, or `unix:` and nothing."""

    host: str
    port: str


UNIX = Address("unix:", "")


class Script(NamedTuple):
    """The PHP script of a route: its file, its name below the document root, and that root."""

    filename: str
    name: str
    document_root: str


class Client(NamedTuple):
    """What is known of a connection beside its handshake."""

    remote: Address
    server: Address
    secure: bool
    certificate: Sequence[tuple[bytes, bytes]] = ()
    """The variables of its TLS certificate, where it was asked for one."""


def script_params(script: Script) -> Pairs:
    """The variables that are the same for every request to a script."""
    return [
        (b"SCRIPT_FILENAME", script.filename.encode()),
        (b"SCRIPT_NAME", script.name.encode()),
        (b"DOCUMENT_ROOT", script.document_root.encode()),
        (b"DOCUMENT_URI", script.name.encode()),
        (b"GATEWAY_INTERFACE", b"CGI/1.1"),
        (b"SERVER_SOFTWARE", b"wsgate/" + __version__.encode()),
        # PHP built with force-cgi-redirect refuses to run without it.
        (b"REDIRECT_STATUS", b"200"),
    ]


def connection_params(head: RequestHead, client: Client) -> Pairs:
    """The variables that are the same for every request of one connection.

    With `script_params` that is the contract's table but for the request's method and body and
    `WSGATE_*`; no name occurs twice (RFC 3875 §4.1 and nginx's `fastcgi_params`).
    """
    _, _, query = head.target.partition(b"?")
    return [
        (b"REQUEST_URI", head.target),
        (b"QUERY_STRING", query),
        (b"SERVER_PROTOCOL", head.version),
        (b"REQUEST_SCHEME", b"https" if client.secure else b"http"),
        *([(b"HTTPS", b"on")] if client.secure else []),
        (b"REMOTE_ADDR", client.remote.host.encode()),
        (b"REMOTE_PORT", client.remote.port.encode()),
        (b"SERVER_ADDR", client.server.host.encode()),
        (b"SERVER_PORT", client.server.port.encode()),
        (b"SERVER_NAME", server_name(head)),
        *client.certificate,
        *header_params(head.headers),
    ]


def server_name(head: RequestHead) -> bytes:
    """The host the client asked for, without its port; empty where the Host header is odd."""
    match = _HOST.fullmatch(head.value(b"host") or b"")
    return match[1].lower() if match else b""


def asked_port(head: RequestHead, secure: bool) -> str:
    """The port the client asked for: the Host header's, else that of the scheme."""
    match = _HOST.fullmatch(head.value(b"host") or b"")
    port = match[2].decode() if match and match[2] else ""
    return port or ("443" if secure else "80")


_HOST = re.compile(rb"(\[[0-9A-Fa-f:.]+\]|[0-9A-Za-z._-]+)(?::([0-9]*))?")


# Letters, digits and hyphens, as nginx passes them on. With underscores allowed, X_Forwarded_For
# would become the same variable as X-Forwarded-For.
_PASSED_NAME = re.compile(rb"[a-z0-9-]+")


_NOT_PASSED = frozenset({b"proxy", b"accept-encoding"})


def header_params(headers: Iterable[tuple[bytes, bytes]]) -> Pairs:
    """Header fields as `HTTP_*` variables (RFC 3875 §4.1.18).

    Duplicates are joined with `, `, those of Cookie with `; `. Left out: names with anything but
    letters, digits and hyphens; `Proxy` (CVE-2016-5385: many HTTP clients take `HTTP_PROXY` from
    the environment); `Accept-Encoding`, which speaks of HTTP bodies, while PHP would compress what
    becomes a message, and no client could undo that.
    """
    joined: dict[bytes, bytes] = {}
    for name, value in headers:
        if name in _NOT_PASSED or not _PASSED_NAME.fullmatch(name):
            continue
        if name in joined:
            value = joined[name] + (b"; " if name == b"cookie" else b", ") + value
        joined[name] = value
    return [(b"HTTP_" + name.replace(b"-", b"_").upper(), value) for name, value in joined.items()]


class MalformedResponse(Exception):
    """PHP's output is not a CGI response; `str()` says what is wrong, for the log."""


MAX_HEADER_BYTES = 32 * 1024


class ResponseHead(NamedTuple):
    """The header of a CGI response.

    `headers` are (name in lower case, value); `is_binary` says whether the content type asks for a
    binary WebSocket message; `content_length` is None where none was given; `has_actions` says
    whether there is any `Wsgate-*` field, `is_encoded` whether a content coding was applied.
    """

    status: int
    headers: tuple[tuple[str, str], ...]
    is_binary: bool
    content_length: int | None
    has_actions: bool
    is_encoded: bool


class CGIResponse(NamedTuple):
    """A CGI response: its header and its body, which is a view where the output was a bytearray."""

    head: ResponseHead
    body: bytes | memoryview


# Applications end lines with LF or CR LF, mixed too.
_BLANK_LINE = re.compile(rb"\r?\n\r?\n")


def find_body(stdout: bytes) -> int:
    """Where the body begins: behind the first empty line; 0 if there is none."""
    match = _BLANK_LINE.search(stdout)
    return match.end() if match else 0


def find_head(stdout: bytes | bytearray) -> tuple[int, int] | None:
    """Where the header ends, and where the body begins; None without an empty line in 32 KiB."""
    match = _BLANK_LINE.search(stdout, 0, MAX_HEADER_BYTES + 4)
    return match.span() if match is not None and match.start() <= MAX_HEADER_BYTES else None


def parse_response(stdout: bytes | bytearray) -> CGIResponse:
    """Read the output of a script (RFC 3875 §6): header fields, an empty line, the body.

    Raises:
        MalformedResponse: no header, more than 32 KiB of it, a malformed or repeated field that
            counts, a status outside 200–599, or a Content-Length that is not the body's.
    """
    found = find_head(stdout)
    if found is None:
        if len(stdout) > MAX_HEADER_BYTES:
            raise MalformedResponse(f"header is longer than {MAX_HEADER_BYTES} bytes")
        raise MalformedResponse("no empty line after the header")
    end, start = found
    # A script sends the same few headers with every answer, so they are read once.
    head = parse_response_head(bytes(stdout[:end]))
    # A view of a long output, which comes as a bytearray; a short one is quicker to copy.
    output = stdout if isinstance(stdout, bytes) else memoryview(stdout)
    body: bytes | memoryview = output[start:]
    if head.content_length is not None and head.content_length != len(body):
        raise MalformedResponse(
            f"Content-Length is {head.content_length}, the body has {len(body)} bytes"
        )
    return CGIResponse(head, body)


@lru_cache(maxsize=128)
def parse_response_head(block: bytes) -> ResponseHead:
    """Read the header fields of a CGI response, without the empty line (RFC 3875 §6.3).

    Without `Status` the status is 200, with `Location` 302 (§6.2.3).

    Raises:
        MalformedResponse: as `parse_response`.
    """
    headers = tuple(_field(line.rstrip("\r")) for line in block.decode("latin-1").split("\n"))
    return ResponseHead(
        _status(headers),
        headers,
        is_binary_type(_one(headers, "content-type")),
        _length(headers),
        any(name.startswith("wsgate-") for name, _ in headers),
        (_one(headers, "content-encoding") or "identity").lower() != "identity",
    )


_FIELD = re.compile(r"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):([\t\x20-\x7e\x80-\xff]*)")


def _field(line: str) -> tuple[str, str]:
    match = _FIELD.fullmatch(line)
    if match is None:
        raise MalformedResponse(f"not a header field: {line[:80]!r}")
    return match[1].lower(), match[2].strip(" \t")


def _one(headers: Iterable[tuple[str, str]], name: str) -> str | None:
    values = [value for field, value in headers if field == name]
    if len(values) > 1:
        raise MalformedResponse(f"{name} is given {len(values)} times")
    return values[0] if values else None


def _status(headers: tuple[tuple[str, str], ...]) -> int:
    value = _one(headers, "status")
    if value is None:
        return 200 if _one(headers, "location") is None else 302
    # RFC 3875 §6.3.3: three digits, a space, a reason; the reason may be missing in practice.
    if not re.fullmatch(r"[2-5][0-9]{2}(?: .*)?", value):
        raise MalformedResponse(f"not a status: {value[:80]!r}")
    return int(value[:3])


def _length(headers: tuple[tuple[str, str], ...]) -> int | None:
    value = _one(headers, "content-length")
    if value is None:
        return None
    if not re.fullmatch(r"[0-9]{1,18}", value):
        raise MalformedResponse(f"not a Content-Length: {value[:80]!r}")
    return int(value)


_TEXT_TYPE = re.compile(
    r"text/.*"
    r"|(?!image/|audio/|video/).*\+(?:json|xml)"
    r"|application/(?:json|xml|javascript|ecmascript|x-javascript|x-www-form-urlencoded)"
    r"|multipart/form-data"
)


def is_binary_type(content_type: str | None) -> bool:
    """Whether a body of this type goes out as a binary message.

    Text are `text/*`, JSON, XML, JavaScript, form types, and no type at all.
    """
    if not content_type:
        return False
    return _TEXT_TYPE.fullmatch(content_type.partition(";")[0].strip().lower()) is None
