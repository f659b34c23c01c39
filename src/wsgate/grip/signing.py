"""`Grip-Sig`, by which PHP knows the gateway, and the tokens by which publishers prove themselves.

Both are JSON Web Tokens (RFC 7519) made with the key of the route.
"""

from __future__ import annotations

import warnings
from base64 import b64decode
from collections.abc import Callable
from typing import NamedTuple, Protocol

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from wsgate.secretfile import read_secret

SHORTEST_KEY = 16

VALID_FOR = 3600.0
"""Seconds that a `Grip-Sig` holds, as Pushpin's does."""
RENEWED_AFTER = 60.0
"""Seconds for which one is used. It names no request, so many may carry the same."""
LEEWAY = 30.0
"""Seconds by which a publisher's clock may be wrong."""


class Key(NamedTuple):
    """A key and the algorithm it is for (RFC 7518 §3.1): HS256, RS256 or ES256."""

    algorithm: str
    secret: bytes | RSAPrivateKey | EllipticCurvePrivateKey


def read_key(path: str) -> Key:
    """The key in a file: a secret on one line, also as `base64:…`, or a private key in PEM.

    Raises:
        SecretUnusable: it cannot be read, or holds none of them.
    """
    return read_secret(
        path,
        f"grip_key_file {path}",
        _key,
        f"one line of at least {SHORTEST_KEY} characters (openssl rand -hex 32), base64: and at "
        "least as many bytes, or an RSA or P-256 private key in PEM without a passphrase",
    )


def _key(content: bytes) -> Key:
    if content.startswith(b"-----BEGIN "):
        private = _private_key(content)
        if isinstance(private, RSAPrivateKey) and private.key_size >= 2048:
            return Key("RS256", private)
        if isinstance(private, EllipticCurvePrivateKey) and isinstance(private.curve, SECP256R1):
            return Key("ES256", private)
        raise ValueError
    if content.startswith(b"base64:"):
        content = b64decode(content.removeprefix(b"base64:"), validate=True)
    elif not content.isascii() or len(content.split()) > 1:
        raise ValueError
    if len(content) < SHORTEST_KEY:
        raise ValueError
    return Key("HS256", content)


def _private_key(pem: bytes) -> object:
    try:
        return load_pem_private_key(pem, None)
    except (TypeError, UnsupportedAlgorithm) as error:
        # A passphrase is needed, or the curve is not known.
        raise ValueError from error


class KeySource(Protocol):
    """Where a key is."""

    @property
    def key(self) -> Key:
        """The key now."""


class Signature:
    """Makes the `Grip-Sig` of a route: who sends it, and until when it holds."""

    def __init__(self, source: KeySource, issuer: str, now: Callable[[], float]) -> None:
        """`now` is the time of day in seconds since 1970, which PHP compares with its own."""
        self._source = source
        self._issuer = issuer
        self._now = now
        self._token = b""
        self._made = float("-inf")

    def token(self) -> bytes:
        """One that holds for at least 59 minutes from now."""
        now = self._now()
        if not 0 <= now - self._made < RENEWED_AFTER:
            claims = {"iss": self._issuer, "exp": int(now + VALID_FOR)}
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", jwt.InsecureKeyLengthWarning)
                key = self._source.key
                token = jwt.encode(claims, key.secret, key.algorithm)
            self._token, self._made = token.encode(), now
        return self._token


def is_signed(token: str, key: Key) -> bool:
    """Whether a publisher's token is of `key`, and holds still.

    It must have an `exp`. Only with a shared secret, HS256: of a private key the publisher would
    have to know what is the gateway's alone.
    """
    if not isinstance(key.secret, bytes):
        return False
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", jwt.InsecureKeyLengthWarning)
            jwt.decode(
                token,
                key.secret,
                algorithms=["HS256"],
                options={"require": ["exp"], "verify_aud": False},
                leeway=LEEWAY,
            )
    # PyJWT lets some errors of its parts through for odd input.
    except (jwt.PyJWTError, ValueError, TypeError, RecursionError):
        return False
    return True
