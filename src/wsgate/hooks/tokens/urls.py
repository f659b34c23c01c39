"""URLs that hold for a while, signed with a key. Pure.

    PATH?QUERY&expires=UNIX_TIME&signature=HEX

The signature is the last parameter. It is the HMAC-SHA256 (RFC 2104) in lower-case hexadecimal of
everything before `&signature=`, from the slash of the path on, byte for byte as the client sends
it: nothing is decoded, ordered or left out, so there is nothing to disagree about.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Sequence
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

from wsgate.hooks.tokens.sources import Denied

_TAIL = re.compile(r"(.+)&signature=([0-9a-f]{64})", re.S)
_EXPIRES = re.compile(r"[1-9][0-9]{0,11}")


class UrlRefused(Denied):
    """The URL does not hold."""


class Signed(NamedTuple):
    """A URL that holds until `ends`, in Unix time."""

    query: str
    """What was signed of the query."""
    ends: float


def signature(key: bytes, path: str, query: str) -> str:
    """What stands behind `&signature=`."""
    message = f"{path}?{query}".encode("latin-1")
    return hmac.new(key, message, hashlib.sha256).hexdigest()


def verified(
    path: str, query: str, keys: Sequence[bytes], now: float, longest: float | None
) -> Signed:
    """What is signed of the URL, if one of `keys` has signed it and it holds at `now`.

    Args:
        path: as sent, Latin-1 for bytes beyond ASCII.
        query: as sent, likewise.
        keys: any of them may have signed it.
        now: Unix time.
        longest: seconds that a URL may have left, None for any.

    Raises:
        UrlRefused: neither is so.
    """
    match = _TAIL.fullmatch(query)
    if match is None:
        raise UrlRefused("it does not end with a signature")
    signed, given = match[1], match[2]
    try:
        good = [hmac.compare_digest(signature(key, path, signed), given) for key in keys]
    except UnicodeEncodeError:
        raise UrlRefused("it has odd characters") from None
    if not any(good):
        raise UrlRefused("its signature is wrong")
    ends = _ending(signed)
    if now >= ends:
        raise UrlRefused("it has expired")
    if longest is not None and ends - now > longest:
        raise UrlRefused("it expires later than max_lifetime allows")
    return Signed(signed, ends)


def value_in(query: str, name: str) -> str:
    """The one value of a parameter, percent-decoded; "" where there is none.

    Raises:
        UrlRefused: there are several, or it is not UTF-8. PHP would take the last of several.
    """
    found = [value for key, value in _pairs(query) if key == name.encode()]
    if len(found) > 1:
        raise UrlRefused("a parameter that counts is there twice")
    try:
        return found[0].decode() if found else ""
    except UnicodeDecodeError:
        raise UrlRefused("a parameter that counts is not UTF-8") from None


def _ending(query: str) -> float:
    value = value_in(query, "expires")
    if _EXPIRES.fullmatch(value) is None:
        raise UrlRefused("it has no expires in seconds since 1970")
    return float(value)


def _pairs(query: str) -> list[tuple[bytes, bytes]]:
    pairs = (item.partition("=") for item in query.split("&"))
    return [(_decoded(name), _decoded(value)) for name, _, value in pairs]


def _decoded(text: str) -> bytes:
    return unquote_to_bytes(text.replace("+", " ").encode("latin-1"))
