"""Real keys of every kind, made once, and tokens signed with them."""

import hashlib
import hmac
import json
from base64 import urlsafe_b64encode
from functools import cache

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from jwt.algorithms import get_default_algorithms

SECRET = b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-_"
NOW = 1_800_000_000

MAKERS = {
    "HS256": lambda: SECRET,
    "RS256": lambda: rsa.generate_private_key(65537, 2048),
    "ES256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "ES384": lambda: ec.generate_private_key(ec.SECP384R1()),
    "ES512": lambda: ec.generate_private_key(ec.SECP521R1()),
    "EdDSA": ed25519.Ed25519PrivateKey.generate,
    "Ed448": ed448.Ed448PrivateKey.generate,
}


@cache
def _made(kind, number):
    return MAKERS[kind]()


def private(algorithm, number=0):
    """A private key for an algorithm; `number` tells several apart."""
    kind = {"RS": "RS256", "PS": "RS256", "HS": "HS256"}.get(algorithm[:2], algorithm)
    return _made(kind, number)


def public_pem(algorithm, number=0):
    key = private(algorithm, number).public_key()
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def private_pem(algorithm):
    return private(algorithm).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def jwk(algorithm, number=0, **members):
    """The public JWK, or the one of the secret."""
    key = private(algorithm, number)
    public = key if isinstance(key, bytes) else key.public_key()
    name = "EdDSA" if algorithm == "Ed448" else algorithm
    made = get_default_algorithms()[name].to_jwk(public, as_dict=True)
    return {key: value for key, value in {**made, **members}.items() if value is not None}


def jwks(*keys):
    return json.dumps({"keys": keys}).encode()


def token(algorithm="HS256", key=None, kid=None, header=None, number=0, **claims):
    """One that holds from NOW for a minute unless `claims` say otherwise; None leaves one out."""
    claims = {"sub": "ada", "exp": NOW + 60, **claims}
    headers = {**({"kid": kid} if kid else {}), **(header or {})}
    name = "EdDSA" if algorithm == "Ed448" else algorithm
    return jwt.encode(
        {name: value for name, value in claims.items() if value is not None},
        private(algorithm, number) if key is None else key,
        name,
        headers=headers,
    )


def encoded(data):
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def forged(header, claims, signature=b""):
    """A token of any header, with any signature."""
    parts = [json.dumps(part).encode() for part in (header, claims)]
    return ".".join(encoded(part) for part in [*parts, signature])


def signed(payload, header=None, secret=SECRET, digest=hashlib.sha256):
    """A token of any payload, signed with a secret."""
    head = json.dumps(header or {"alg": "HS256"}).encode()
    text = f"{encoded(head)}.{encoded(payload)}"
    return f"{text}.{encoded(hmac.new(secret, text.encode(), digest).digest())}"
