"""Keys that verify tokens, from PEM, JWK (RFC 7517) or lines of secrets. Pure.

A key is for the algorithms that suit its type, and for no others: no public key ever becomes the
secret of an HMAC, which is how tokens are forged where a token may choose (RFC 8725 §2.1).
"""

from __future__ import annotations

import json
import re
from base64 import b64decode
from collections.abc import Iterable
from typing import Any, NamedTuple, TypeAlias

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import (
    SECP256R1,
    SECP384R1,
    SECP521R1,
    EllipticCurvePublicKey,
)
from cryptography.hazmat.primitives.asymmetric.ed448 import Ed448PublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from cryptography.x509 import load_pem_x509_certificate
from jwt.algorithms import get_default_algorithms
from jwt.exceptions import PyJWTError

from wsgate.secretfile import Unfit

SECRETS = {"HS256": 32, "HS384": 48, "HS512": 64}
"""Algorithms with a shared secret, and the bytes that it needs: RFC 7518 §3.2."""

LARGEST = 256 * 1024
"""Bytes of a file, or of what a server sends."""

MOST_KEYS = 64
"""In one file or set."""

_RSA = frozenset({"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"})
_CURVES = {SECP256R1: "ES256", SECP384R1: "ES384", SECP521R1: "ES512"}

Material: TypeAlias = (
    bytes | RSAPublicKey | EllipticCurvePublicKey | Ed25519PublicKey | Ed448PublicKey
)


class KeyUnusable(Unfit):
    """There is no key that can be used; the text is the tail of a line, with the mend."""


class Key(NamedTuple):
    """What verifies, with which algorithms, and its name, where it has one."""

    material: Material
    algorithms: frozenset[str]
    kid: str | None = None


def chosen(keys: Iterable[Key], algorithm: str, kid: str | None) -> list[Key]:
    """Those that may verify a token which says this: `kid` chooses (RFC 7515 §4.1.4).

    A key without a name is for tokens with any; a token without one may be of any key.
    """
    return [
        key
        for key in keys
        if algorithm in key.algorithms and (kid is None or key.kid is None or key.kid == kid)
    ]


def from_file(content: bytes, algorithms: frozenset[str]) -> tuple[Key, ...]:
    """The keys in a file for these algorithms: PEM blocks, a JWK, a set of them, or secrets.

    Secrets stand one on a line, as they are or as `base64:…`.

    Raises:
        KeyUnusable: there is none, one is weak or private, or none is for these algorithms.
    """
    content = content.strip()
    if len(content) > LARGEST:
        raise KeyUnusable(f"longer than {LARGEST // 1024}KiB")
    if not content:
        raise KeyUnusable("is empty")
    if b"-----BEGIN " in content:
        keys = _pems(content)
    elif content.startswith(b"{"):
        keys = tuple(_from_jwk(member) for member in _members(content))
    elif algorithms <= SECRETS.keys():
        return tuple(Key(one, suited(one) & algorithms) for one in secrets_in(content, algorithms))
    else:
        raise KeyUnusable("holds no public key in PEM, no JWK and no set of them")
    return _for(keys, algorithms)


def from_server(content: bytes, algorithms: frozenset[str]) -> tuple[Key, ...]:
    """The public keys of a JWK Set (RFC 7517 §5) for these algorithms.

    Others in it are passed over, as it may hold them for others; so are secrets and private keys,
    which do not belong there.

    Raises:
        KeyUnusable: it is no such set, or there is no key for these algorithms in it.
    """
    if len(content) > LARGEST:
        raise KeyUnusable(f"longer than {LARGEST // 1024}KiB")
    keys = []
    for member in _members(content):
        try:
            key = _from_jwk(member)
        except KeyUnusable:
            continue
        if not isinstance(key.material, bytes) and key.algorithms & algorithms:
            keys.append(key._replace(algorithms=key.algorithms & algorithms))
    if not keys:
        raise KeyUnusable(f"has no key for {_listed(algorithms)}")
    return tuple(keys)


def suited(material: object) -> frozenset[str]:
    """The algorithms that a key of this type and size is good for; none if it is weak."""
    if isinstance(material, bytes):
        # A repeated letter is long, and no secret.
        length = len(material) if len(set(material)) >= 8 else 0
        return frozenset(name for name, needed in SECRETS.items() if length >= needed)
    if isinstance(material, RSAPublicKey):
        # A longer one only takes longer: the sender of a token chooses how often.
        return _RSA if 2048 <= material.key_size <= 8192 else frozenset()
    if isinstance(material, EllipticCurvePublicKey):
        name = _CURVES.get(type(material.curve))
        return frozenset({name} if name else ())
    is_edwards = isinstance(material, (Ed25519PublicKey, Ed448PublicKey))
    return frozenset({"EdDSA"} if is_edwards else ())


def _for(keys: tuple[Key, ...], algorithms: frozenset[str]) -> tuple[Key, ...]:
    fitting = tuple(
        key._replace(algorithms=key.algorithms & algorithms)
        for key in keys
        if key.algorithms & algorithms
    )
    if fitting:
        return fitting
    if algorithms <= SECRETS.keys() and any(not isinstance(key.material, bytes) for key in keys):
        raise KeyUnusable(
            f"a public key, and {min(algorithms)} takes a secret: everybody could sign with it; "
            "write the algorithm of the key, like RS256, ES256 or EdDSA"
        )
    raise KeyUnusable(f"has no key for {_listed(algorithms)}")


_BLOCK = re.compile(rb"-----BEGIN ([A-Z0-9 ]+)-----.*?-----END \1-----", re.S)


def _pems(content: bytes) -> tuple[Key, ...]:
    blocks = list(_BLOCK.finditer(content))
    if not blocks or len(blocks) > MOST_KEYS:
        raise KeyUnusable(f"needs 1 to {MOST_KEYS} whole blocks of PEM")
    return tuple(_from_pem(block[0], block[1]) for block in blocks)


def _from_pem(block: bytes, label: bytes) -> Key:
    if b"PRIVATE" in label:
        raise KeyUnusable(
            "a private key, which is for those who sign; take the public one: openssl pkey "
            "-in FILE -pubout"
        )
    try:
        material: Any
        if label == b"CERTIFICATE":
            material = load_pem_x509_certificate(block).public_key()
        else:
            material = load_pem_public_key(block)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise KeyUnusable("has a block of PEM that is no public key or certificate") from None
    return Key(material, _suited(material))


def _suited(material: object) -> frozenset[str]:
    algorithms = suited(material)
    if algorithms:
        return algorithms
    if isinstance(material, bytes):
        raise KeyUnusable(weak_secret("HS256"))
    if isinstance(material, RSAPublicKey):
        raise KeyUnusable("has an RSA key that is not of 2048 to 8192 bits")
    raise KeyUnusable("has a key of a type or curve that no algorithm here takes")


def weak_secret(algorithm: str) -> str:
    """What is wrong with a secret that is too short for it, as the tail of a line."""
    needed = SECRETS[algorithm]
    return (
        f"a secret that is too weak; {algorithm} takes {needed} bytes or more: openssl rand "
        f"-hex {needed} makes one"
    )


def secrets_in(
    content: bytes, algorithms: frozenset[str] = frozenset({"HS256"})
) -> tuple[bytes, ...]:
    """The secrets in a file, one on each line, each strong enough for one of the algorithms.

    Raises:
        KeyUnusable: there is none, or one is weak or none.
    """
    lines = [line.strip() for line in content.splitlines() if line.strip()]
    if not 1 <= len(lines) <= MOST_KEYS:
        raise KeyUnusable(f"needs 1 to {MOST_KEYS} lines with a secret each")
    secrets = tuple(map(_secret, lines))
    if not all(suited(secret) & algorithms for secret in secrets):
        raise KeyUnusable(weak_secret(min(algorithms)))
    return secrets


def _secret(line: bytes) -> bytes:
    if line.startswith(b"base64:"):
        try:
            return b64decode(line.removeprefix(b"base64:"), validate=True)
        except ValueError:
            raise KeyUnusable("has a base64: that is none") from None
    if not re.fullmatch(rb"[\x21-\x7e]+", line):
        raise KeyUnusable("needs lines of printable characters without blanks, or of base64:…")
    return line


def _members(content: bytes) -> list[dict[str, Any]]:
    try:
        parsed = json.loads(content.decode())
    except (ValueError, RecursionError):
        raise KeyUnusable("is not JSON") from None
    members = parsed.get("keys", [parsed]) if isinstance(parsed, dict) else None
    if not isinstance(members, list) or len(members) > MOST_KEYS:
        raise KeyUnusable(f"is no JWK, and no set of up to {MOST_KEYS}")
    return [member for member in members if isinstance(member, dict)]


# What reads a JWK of each type; which algorithm it is made for says `suited`.
_READERS = {
    kty: get_default_algorithms()[name]
    for kty, name in (("oct", "HS256"), ("RSA", "RS256"), ("EC", "ES256"), ("OKP", "EdDSA"))
}


def _from_jwk(jwk: dict[str, Any]) -> Key:
    reader = _READERS.get(str(jwk.get("kty")))
    if reader is None:
        raise KeyUnusable("has a JWK of an unknown type")
    if "d" in jwk:
        raise KeyUnusable("a private key, which is for those who sign; leave out its d")
    try:
        material = reader.from_jwk(jwk)
    except (PyJWTError, ValueError, TypeError, KeyError, OverflowError, UnsupportedAlgorithm):
        raise KeyUnusable("has a JWK that cannot be read") from None
    kid = jwk.get("kid")
    return Key(material, _meant(jwk, _suited(material)), kid if isinstance(kid, str) else None)


def _meant(jwk: dict[str, Any], algorithms: frozenset[str]) -> frozenset[str]:
    """Those of `algorithms` that the key's own words allow (RFC 7517 §4.2 to §4.4)."""
    operations = jwk.get("key_ops", ["verify"])
    may_verify = isinstance(operations, list) and "verify" in operations
    if jwk.get("use", "sig") != "sig" or not may_verify:
        return frozenset()
    if "alg" not in jwk:
        return algorithms
    return algorithms & {str(jwk["alg"])}


def _listed(algorithms: Iterable[str]) -> str:
    return " or ".join(sorted(algorithms))
