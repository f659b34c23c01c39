"""wsgate.grip.signing: keys, Grip-Sig, and the tokens of publishers."""

import time

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from hypothesis import given
from hypothesis import strategies as st

from wsgate.grip.signing import (
    RENEWED_AFTER,
    VALID_FOR,
    Key,
    Signature,
    is_signed,
    read_key,
)
from wsgate.secretfile import SecretUnusable

SECRET = b"0123456789abcdef0123456789abcdef"
KEY = Key("HS256", SECRET)


class Held:
    """A key that stays."""

    def __init__(self, key):
        self.key = key


def pem(private, encryption=None):
    encryption = encryption or NoEncryption()
    return private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)


@pytest.fixture(scope="module")
def rsa_key():
    return rsa.generate_private_key(65537, 2048)


def written(tmp_path, content):
    path = tmp_path / "grip.key"
    path.write_bytes(content)
    return str(path)


@pytest.mark.parametrize(
    ("content", "secret"),
    [
        (SECRET, SECRET),
        (SECRET + b"\n", SECRET),
        (b"x" * 16, b"x" * 16),
        (b"base64:AAECAwQFBgcICQoLDA0ODw==\n", bytes(range(16))),
    ],
)
def test_a_secret_is_read(tmp_path, content, secret):
    assert read_key(written(tmp_path, content)) == Key("HS256", secret)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"x" * 15,
        b"base64:AAEC",
        b"base64:!",
        b"two words that are long enough",
        b"two-lines-of-a-file\nthe-second-line",
        b"\xff" * 32,
        b"x" * 16385,
        b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----",
    ],
)
def test_what_is_no_key_is_refused_in_one_line(tmp_path, content):
    with pytest.raises(SecretUnusable) as error:
        read_key(written(tmp_path, content))
    text = str(error.value)
    assert text.startswith(f"grip_key_file {tmp_path}/grip.key: needs one line")
    assert "\n" not in text


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(SecretUnusable, match=r"no\.key: No such file"):
        read_key(str(tmp_path / "no.key"))


def test_other_private_keys_are_refused(tmp_path, rsa_key):
    others = [
        pem(ed25519.Ed25519PrivateKey.generate()),
        pem(ec.generate_private_key(ec.SECP384R1())),
        pem(rsa.generate_private_key(65537, 1024)),
        pem(rsa_key, BestAvailableEncryption(b"passphrase")),
    ]
    for content in others:
        with pytest.raises(SecretUnusable):
            read_key(written(tmp_path, content))


def test_a_signature_names_its_issuer_and_its_end():
    now = time.time()
    token = Signature(Held(KEY), "pushpin", lambda: now).token()
    claims = jwt.decode(token, SECRET, algorithms=["HS256"], issuer="pushpin")
    assert claims == {"iss": "pushpin", "exp": int(now + VALID_FOR)}


@pytest.mark.parametrize("algorithm", ["RS256", "ES256"])
def test_private_keys_sign_too(tmp_path, algorithm, rsa_key):
    private = rsa_key if algorithm == "RS256" else ec.generate_private_key(ec.SECP256R1())
    key = read_key(written(tmp_path, pem(private)))
    assert key.algorithm == algorithm
    token = Signature(Held(key), "me", time.time).token()
    assert jwt.decode(token, private.public_key(), algorithms=[algorithm])["iss"] == "me"


def test_a_signature_is_used_for_a_minute_and_not_when_the_clock_went_back():
    clock = [1000.0]
    signature = Signature(Held(KEY), "me", lambda: clock[0])
    first = signature.token()
    clock[0] += RENEWED_AFTER - 1
    assert signature.token() is first
    clock[0] += 1
    second = signature.token()
    assert second != first
    clock[0] -= 500
    assert signature.token() not in (first, second)


def made(key=SECRET, algorithm="HS256", **claims):
    return jwt.encode({"iss": "me", "exp": time.time() + 600, **claims}, key, algorithm)


def test_a_publisher_proves_itself_by_the_secret():
    assert is_signed(made(), KEY)
    assert is_signed(made(aud="anybody"), KEY)


@pytest.mark.parametrize(
    "token",
    [
        "",
        "x",
        "a.b.c",
        "é.é.é",
        made(b"another secret that is long enough"),
        made(exp=1),
        made(exp="soon"),
        made(nbf=2**40),
        jwt.encode({"iss": "me"}, SECRET, "HS256"),
        jwt.encode({"exp": 2**40}, SECRET * 2, "HS512"),
        jwt.encode({"exp": 2**40}, None, "none"),
        made()[:-3],
    ],
)
def test_every_other_token_is_refused(token):
    assert not is_signed(token, KEY)


@given(st.text(alphabet="abcdefgXYZ0189-_.="))
def test_any_text_is_refused(token):
    assert not is_signed(token, KEY)


def test_a_private_key_is_never_taken_for_a_secret(rsa_key):
    assert not is_signed(made(rsa_key, "RS256"), Key("RS256", rsa_key))
