"""What clients prove themselves with, as settings name it: algorithms, places, claims, keys."""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import urlsplit

SECRET_ALGORITHMS = ("HS256", "HS384", "HS512")
ALGORITHMS = (
    *SECRET_ALGORITHMS,
    *("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"),
    *("ES256", "ES384", "ES512", "EdDSA"),
)
"""Those of RFC 7518 §3.1 and RFC 8037 that there are; "none" is not one of them."""

CLAIM_PREFIX = "WSGATE_CLAIM_"
_LONGEST_PARAM = 64

# RFC 9110 §5.6.2.
_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_SOURCE = re.compile(
    rf"authorization|(header|cookie|subprotocol):{_TOKEN}|query:[A-Za-z0-9_.~-]+"
    r"|first_message(:[^:]+)?"
)


def algorithm(value: str) -> str:
    """An algorithm of signatures."""
    if value not in ALGORITHMS:
        raise ValueError(f"not an algorithm; known: {', '.join(ALGORITHMS)}")
    return value


def source(value: str) -> str:
    """Where a client may bring something."""
    if _SOURCE.fullmatch(value) is None:
        raise ValueError(
            "write authorization, header:NAME, cookie:NAME, query:NAME, subprotocol:PREFIX, "
            "first_message or first_message:FIELD"
        )
    return value


def own_source(value: str) -> str:
    """Where a client may bring a secret: not where browsers and proxies would spread it."""
    if value.startswith(("cookie:", "subprotocol:")):
        raise ValueError(
            "write authorization, header:NAME, query:NAME, first_message or first_message:FIELD"
        )
    return source(value)


def claim_param(value: str) -> tuple[str, str]:
    """The param that PHP gets of a claim, and where the claim is: `sub`, `a.b`, or `NAME=a.b`.

    In the name of a param everything but letters and digits becomes `_`, one for each run.

    Raises:
        ValueError: the name is too long, or nothing is left of it.
    """
    name, sign, path = value.partition("=")
    if not sign:
        path = value
    elif not re.fullmatch(r"[A-Za-z0-9_]+", name) or not path:
        raise ValueError("write a claim, or NAME=CLAIM with letters, digits and _ in NAME")
    param = CLAIM_PREFIX + re.sub(r"[^A-Z0-9]+", "_", name.upper()).strip("_")
    if param == CLAIM_PREFIX:
        raise ValueError("give it a name of letters and digits: NAME=CLAIM")
    if len(param) > _LONGEST_PARAM:
        room = _LONGEST_PARAM - len(CLAIM_PREFIX)
        raise ValueError(f"its name is longer than {room}; give it another: NAME=CLAIM")
    return param, path


def claim(value: str) -> str:
    """A claim that PHP gets; see `claim_param`."""
    claim_param(value)
    return value


def jwks_url(value: str) -> str:
    """Where public keys are: what comes from there decides who gets in."""
    try:
        parts = urlsplit(value)
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
    if not host or not re.fullmatch(r"[\x21-\x7e]+", value) or port == 0 or parts.fragment:
        raise ValueError("not a URL; write one like https://id.example.com/jwks.json")
    if parts.username is not None or parts.password is not None:
        raise ValueError("has a user or password in it; public keys need none")
    if parts.scheme == "http" and _is_here(host):
        return value
    if parts.scheme != "https":
        raise ValueError("needs https://, unless it is on this machine: http://127.0.0.1/")
    return value


def _is_here(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
