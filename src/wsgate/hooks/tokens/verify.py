"""Whether a JSON Web Token holds (RFC 7519, with the advice of RFC 8725). Pure.

The signature is PyJWT's work. What the claims mean is decided here, at a time that is given.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, NoReturn

from jwt.api_jws import PyJWS
from jwt.exceptions import PyJWTError

from wsgate.config.proofs import ALGORITHMS
from wsgate.hooks.tokens.keys import Key
from wsgate.hooks.tokens.sources import Denied
from wsgate.oneline import one_line

# Three parts, and no padding: PyJWT would take some, and each token only has one form here.
_COMPACT = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")

MOST_TRIED = 8
"""Keys that a token without a `kid` is tried with."""

# Beyond it, numbers in JSON are not exact for everybody.
_LATEST = 2**53


class TokenRefused(Denied):
    """The token does not hold."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What a token must be."""

    algorithms: frozenset[str]
    audience: tuple[str, ...] = ()
    """One of them is in `aud`; empty: a token that is for somebody is not for us."""
    issuers: tuple[str, ...] = ()
    """One of them is `iss`; empty: anybody who has a key."""
    required: tuple[str, ...] = ()
    """Claims that it must have, beside `exp`."""
    leeway: float = 0.0
    """Seconds by which clocks may differ."""
    needs_expiry: bool = True
    largest: int = 8192
    """Characters."""


class Presented(NamedTuple):
    """A token that nobody has verified, and what it says of its key."""

    token: str
    algorithm: str
    kid: str | None


class Token(NamedTuple):
    """One that holds, until `ends` (Unix time, leeway included), if it ends."""

    claims: dict[str, Any]
    ends: float | None


def opened(token: str, rules: Rules) -> Presented:
    """The token's own words about itself, as far as they can be used to find its key.

    Raises:
        TokenRefused: it has not the form, or another algorithm than those of the rules.
    """
    if len(token) > rules.largest:
        raise TokenRefused("it is longer than max_token_size")
    if _COMPACT.fullmatch(token) is None:
        raise TokenRefused("it has not the form of a token")
    try:
        header = _JWS.get_unverified_header(token)
    except _WRONG:
        raise TokenRefused("its header cannot be read") from None
    algorithm = header.get("alg")
    if not isinstance(algorithm, str) or algorithm not in rules.algorithms:
        raise TokenRefused(f"its algorithm is {one_line(str(algorithm), 16)}, which is not allowed")
    if "crit" in header or "b64" in header:
        raise TokenRefused("it asks for an extension")
    return Presented(token, algorithm, header.get("kid"))


def verified(presented: Presented, keys: Sequence[Key], rules: Rules, now: float) -> Token:
    """The token, if one of `keys` has signed it and its claims hold at `now`.

    `keys` are those that `keys.chosen` gives for it.

    Raises:
        TokenRefused: neither is so.
    """
    if not keys:
        raise TokenRefused("no key is known for it")
    payload = _signed(presented, keys[:MOST_TRIED])
    try:
        claims = json.loads(payload.decode(), parse_constant=_not_json)
    except (ValueError, RecursionError):
        raise TokenRefused("its claims are not JSON") from None
    if not isinstance(claims, dict):
        raise TokenRefused("its claims are no object")
    return Token(claims, _check(claims, rules, now))


_JWS = PyJWS(algorithms=ALGORITHMS)

# PyJWT lets some errors of its parts through for odd input.
_WRONG = (PyJWTError, ValueError, TypeError, RecursionError)


def _signed(presented: Presented, keys: Sequence[Key]) -> bytes:
    for key in keys:
        if presented.algorithm in key.algorithms:
            try:
                decoded = _JWS.decode_complete(
                    presented.token, key.material, algorithms=[presented.algorithm]
                )
            except _WRONG:
                continue
            payload: bytes = decoded["payload"]
            return payload
    raise TokenRefused("its signature is wrong")


def _not_json(word: str) -> NoReturn:
    raise ValueError(word)


def _check(claims: dict[str, Any], rules: Rules, now: float) -> float | None:
    for name in rules.required:
        if claims.get(name) is None:
            raise TokenRefused(f"it has no {one_line(name, 64)}")
    ends = _ending(claims, rules, now)
    if _time(claims, "nbf", now) > now + rules.leeway:
        raise TokenRefused("it is not valid yet (nbf)")
    if _time(claims, "iat", now) > now + rules.leeway:
        raise TokenRefused("it is from the future (iat)")
    _check_issuer(claims, rules)
    _check_audience(claims, rules)
    return ends


def _ending(claims: dict[str, Any], rules: Rules, now: float) -> float | None:
    if "exp" not in claims:
        if rules.needs_expiry:
            raise TokenRefused("it has no exp")
        return None
    ends = _time(claims, "exp", now) + rules.leeway
    # RFC 7519 §4.1.4: not on or after it.
    if now >= ends:
        raise TokenRefused("it has expired")
    return ends


def _time(claims: dict[str, Any], name: str, default: float) -> float:
    """A NumericDate of RFC 7519 §2."""
    value = claims.get(name, default)
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not is_number or not 0 <= value < _LATEST:
        raise TokenRefused(f"its {name} is no time")
    return float(value)


def _check_issuer(claims: dict[str, Any], rules: Rules) -> None:
    if rules.issuers and claims.get("iss") not in rules.issuers:
        raise TokenRefused("it is of another issuer (iss)")


def _check_audience(claims: dict[str, Any], rules: Rules) -> None:
    """RFC 7519 §4.1.3: whoever is not meant must refuse it."""
    meant = claims.get("aud", [])
    meant = [meant] if isinstance(meant, str) else meant
    if not isinstance(meant, list) or not all(isinstance(one, str) for one in meant):
        raise TokenRefused("its aud is neither a text nor a list of them")
    if not rules.audience and meant:
        raise TokenRefused("it is for an audience (aud), and `audience` is not set")
    if rules.audience and not set(meant) & set(rules.audience):
        raise TokenRefused("it is for another audience (aud)")
