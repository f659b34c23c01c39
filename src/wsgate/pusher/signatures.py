"""What is signed with the application's secret, and whether a signature is right. Pure.

Every signature is the hexadecimal HMAC-SHA256 of some text. Comparing takes the same time however
much of a wrong one is right. Pusher's documentation, "Authentication signatures".
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable
from hashlib import md5, sha256

from wsgate.pusher.app import App


def signature(secret: bytes, text: bytes) -> str:
    """The signature of `text`: 64 hexadecimal digits."""
    return hmac.new(secret, text, sha256).hexdigest()


def is_signed(app: App, auth: str, *parts: str) -> bool:
    """Whether `auth` is `KEY:SIGNATURE` of the parts with `:` between them.

    Raises:
        UnicodeEncodeError: a part is no Unicode text (half a surrogate pair).
    """
    expected = f"{app.key}:{signature(app.secret, ':'.join(parts).encode())}"
    return _same(expected, auth)


def subscription_is_signed(
    app: App, socket_id: str, channel: str, channel_data: str | None, auth: str
) -> bool:
    """Whether the application allows `socket_id` the channel, with exactly this `channel_data`."""
    more = () if channel_data is None else (channel_data,)
    return is_signed(app, auth, socket_id, channel, *more)


def user_is_signed(app: App, socket_id: str, user_data: str, auth: str) -> bool:
    """Whether the application says that `socket_id` is the user of exactly this `user_data`."""
    return is_signed(app, auth, f"{socket_id}::user:", user_data)


def request_signature(
    secret: bytes, method: str, path: str, query: Iterable[tuple[str, str]]
) -> str:
    """What `auth_signature` of a request to the HTTP API must be.

    Args:
        secret: the application's.
        method: in capitals.
        path: without a prefix, percent-encoded as it was sent.
        query: names and decoded values, without `auth_signature`.
    """
    sent = sorted((name.lower(), value) for name, value in query)
    text = "&".join(f"{name}={value}" for name, value in sent)
    # A value of bytes that are no UTF-8 was decoded with surrogates, and is those bytes again.
    signed = f"{method}\n{path}\n{text}".encode("utf-8", "surrogateescape")
    return signature(secret, signed)


def request_is_signed(app: App, method: str, path: str, query: dict[str, str]) -> bool:
    """Whether `auth_signature` among the decoded values of `query` is right."""
    rest = [(name, value) for name, value in query.items() if name != "auth_signature"]
    expected = request_signature(app.secret, method, path, rest)
    return _same(expected, query.get("auth_signature", ""))


def body_is(body: bytes, expected_md5: str) -> bool:
    """Whether `body` has this MD5, which the signature covers."""
    # The protocol's choice; what proves the sender is the signature over it.
    return _same(md5(body, usedforsecurity=False).hexdigest(), expected_md5)


def _same(expected: str, given: str) -> bool:
    return hmac.compare_digest(expected.encode(), given.encode("utf-8", "replace"))
