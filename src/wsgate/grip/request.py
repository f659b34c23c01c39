"""The variables of a request in WebSocket-over-HTTP. Pure.

The handshake's headers come with every request, but for those that only the gateway may set: what
PHP reads as `Connection-Id`, `Meta-*`, `Grip-*` or the type of the body is never a client's.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from wsgate import cgi
from wsgate.grip.events import CONTENT_TYPE
from wsgate.http1 import RequestHead

_OURS = frozenset(
    {
        *(b"upgrade", b"connection", b"keep-alive", b"te", b"trailer", b"expect"),
        *(b"accept", b"content-type", b"content-length", b"content-encoding"),
        *(b"transfer-encoding", b"connection-id", b"content-bytes-replayed"),
        *(b"sec-websocket-extensions", b"sec-websocket-key"),
    }
)
_OUR_FAMILIES = (b"meta-", b"set-meta-", b"grip-")


def replayed(head: RequestHead) -> RequestHead:
    """`head` with those of its header fields that PHP may see with every request."""
    return head._replace(
        headers=tuple(
            (name, value)
            for name, value in head.headers
            if name not in _OURS and not name.startswith(_OUR_FAMILIES)
        )
    )


FIXED: cgi.Pairs = [
    (b"REQUEST_METHOD", b"POST"),
    (b"CONTENT_TYPE", CONTENT_TYPE.encode()),
    # PHP libraries look here, or at HTTP_CONTENT_TYPE, which no FastCGI server sets.
    (b"HTTP_ACCEPT", CONTENT_TYPE.encode()),
    (b"HTTP_SEC_WEBSOCKET_EXTENSIONS", b"grip"),
]
"""What is the same in all requests."""


class TooMuchMeta(ValueError):
    """A script wants to keep more on a connection than there is room for; `limit` says which."""

    def __init__(self, limit: str) -> None:
        super().__init__(f"Set-Meta: more than limits.{limit} allows; nothing of it was kept")
        self.limit = limit


_META_NAME = re.compile(r"[a-z0-9-]{1,128}")

Meta = Mapping[str, str]
"""What a script keeps on a connection, by name in lower case. Values are Latin-1, as in headers."""

NO_META: Meta = {}


def changed_meta(
    meta: Meta, changes: tuple[tuple[str, str], ...], *, count: int, size: int
) -> Meta:
    """`meta` after the `Set-Meta-*` of an answer. An empty value forgets a name.

    Args:
        meta: what was kept; it is not changed.
        changes: (name, value) in the order given; the last one of a name holds.
        count: how many may be kept; 0 is no limit.
        size: of all names and values together, in bytes; 0 is no limit.

    Raises:
        TooMuchMeta: there would be more.
        ValueError: a name has other characters than letters, digits and hyphens.
    """
    after = dict(meta)
    for name, value in changes:
        if not _META_NAME.fullmatch(name):
            raise ValueError(f"Set-Meta-{name[:40]}: a name has letters, digits and hyphens")
        after.pop(name, None)
        if value:
            after[name] = value
    if count and len(after) > count:
        raise TooMuchMeta("variables_per_connection")
    if size and sum(map(len, after)) + sum(map(len, after.values())) > size:
        raise TooMuchMeta("variable_bytes_per_connection")
    return after


def meta_params(meta: Meta) -> cgi.Pairs:
    """The variables of what a script keeps."""
    return [
        (b"HTTP_META_" + name.replace("-", "_").upper().encode(), value.encode("latin-1"))
        for name, value in meta.items()
    ]
