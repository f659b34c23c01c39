"""wsgate.hooks.tokens.keys: which keys are taken, and for what."""

import contextlib
import json
from base64 import b64encode
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dsa, ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from tests.hooks.token_keys import SECRET, jwk, jwks, private, private_pem, public_pem
from wsgate.config.proofs import ALGORITHMS
from wsgate.hooks.tokens.keys import (
    LARGEST,
    MOST_KEYS,
    SECRETS,
    Key,
    KeyUnusable,
    chosen,
    from_file,
    from_server,
)

PUBLIC = frozenset(ALGORITHMS) - SECRETS.keys()
RSA = frozenset({"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"})


def trouble(content, *algorithms, read=from_file):
    with pytest.raises(KeyUnusable) as unusable:
        read(content, frozenset(algorithms))
    return str(unusable.value)


@pytest.mark.parametrize("hmac", sorted(SECRETS))
@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "ES384", "ES512", "EdDSA"])
def test_a_public_key_with_an_hmac_is_an_error_that_says_why(hmac, algorithm):
    for content in (public_pem(algorithm), json.dumps(jwk(algorithm)).encode()):
        assert "could sign with it" in trouble(content, hmac)


def test_a_public_key_in_der_is_no_secret():
    der = (
        private("RS256").public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    )
    assert "printable" in trouble(der, "HS256")
    ssh = private("EdDSA").public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
    assert "printable" in trouble(ssh, "HS256")


@pytest.mark.parametrize(("algorithm", "bytes_"), SECRETS.items())
def test_a_weak_secret_is_refused(algorithm, bytes_):
    strong = SECRET[:bytes_]
    assert from_file(strong, frozenset({algorithm})) == (Key(strong, frozenset({algorithm})),)
    why = trouble(strong[:-1], algorithm)
    assert f"{algorithm} takes {bytes_} bytes or more" in why
    assert f"openssl rand -hex {bytes_}" in why
    assert "weak" in trouble(b"ab" * bytes_, algorithm)
    short = jwk("HS256", k=b64encode(strong[:-1]).decode().rstrip("="))
    assert trouble(json.dumps(short).encode(), algorithm)


def test_secrets_stand_on_lines_for_rotation():
    raw = bytes(range(32))
    content = SECRET + b"\r\n\nbase64:" + b64encode(raw) + b"\n"
    keys = from_file(content, frozenset({"HS256", "HS512"}))
    assert [key.material for key in keys] == [SECRET, raw]
    assert [sorted(key.algorithms) for key in keys] == [["HS256", "HS512"], ["HS256"]]
    assert "weak" in trouble(SECRET + b"\nshort", "HS256")
    assert "base64" in trouble(b"base64:!!", "HS256")
    assert "blanks" in trouble(b"two words " * 10, "HS256")
    many = [b"%064d" % number for number in range(MOST_KEYS + 1)]
    assert len(from_file(b"\n".join(s + b"abcdefgh" for s in many[1:]), frozenset({"HS256"}))) == (
        MOST_KEYS
    )
    assert "lines" in trouble(b"\n".join(many), "HS256")


@pytest.mark.parametrize(
    ("algorithm", "suits"),
    [
        ("RS256", RSA),
        *((name, {name}) for name in ("ES256", "ES384", "ES512", "EdDSA")),
        ("Ed448", {"EdDSA"}),
    ],
)
def test_a_public_key_is_for_its_own_algorithms(algorithm, suits):
    for content in (
        public_pem(algorithm),
        json.dumps(jwk(algorithm)).encode(),
        jwks(jwk(algorithm)),
    ):
        (key,) = from_file(content, PUBLIC)
        assert key.algorithms == suits
        (key,) = from_file(content, frozenset({min(suits)}))
        assert key.algorithms == {min(suits)}
        others = PUBLIC - suits
        assert "has no key for" in trouble(content, *others)


def test_several_blocks_are_several_keys():
    content = public_pem("RS256") + b"\n# the new one\n" + public_pem("ES256")
    assert len(from_file(content, PUBLIC)) == 2
    assert "blocks" in trouble(public_pem("EdDSA") * (MOST_KEYS + 1), "EdDSA")
    assert "blocks" in trouble(public_pem("EdDSA")[:-20], "EdDSA")


def test_a_certificate_has_a_public_key():
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "id")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(private("ES256").public_key())
        .serial_number(1)
        .not_valid_before(datetime.now(UTC))
        .not_valid_after(datetime.now(UTC) + timedelta(days=1))
        .sign(private("ES256"), hashes.SHA256())
    )
    (key,) = from_file(certificate.public_bytes(Encoding.PEM), PUBLIC)
    assert key.algorithms == {"ES256"}


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "EdDSA"])
def test_a_private_key_stays_with_those_who_sign(algorithm):
    assert "-pubout" in trouble(private_pem(algorithm), algorithm)
    assert "private" in trouble(json.dumps({**jwk(algorithm), "d": "AAAA"}).encode(), algorithm)
    assert "no key" in trouble(jwks({**jwk(algorithm), "d": "AAAA"}), algorithm, read=from_server)


@pytest.mark.parametrize(
    "public",
    [
        rsa.generate_private_key(65537, 1024).public_key(),
        ec.generate_private_key(ec.SECP256K1()).public_key(),
        ec.generate_private_key(ec.SECP224R1()).public_key(),
        dsa.generate_private_key(2048).public_key(),
    ],
)
def test_weak_and_unknown_types_are_refused(public):
    pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    assert trouble(pem, *PUBLIC).startswith("has a")


@pytest.mark.parametrize(
    "members",
    [
        {"use": "enc"},
        {"use": 1},
        {"alg": "RSA-OAEP"},
        {"alg": "RS512"},
        {"alg": "none"},
        {"alg": "HS256"},
        {"alg": None, "key_ops": ["encrypt"]},
        {"key_ops": "verify"},
        {"key_ops": []},
    ],
)
def test_a_key_for_something_else_is_not_used(members):
    for read in (from_file, from_server):
        assert "no key" in trouble(jwks(jwk("RS256", **members)), "RS256", read=read)


def test_of_a_server_nothing_but_public_keys_is_taken():
    content = jwks(
        jwk("HS256", kid="secret"),
        jwk("RS256", kid="good", use="sig", key_ops=["verify"]),
        {"kty": "RSA", "kid": "broken"},
        {"kty": "new", "kid": "unknown"},
        {"kid": "empty"},
        {**jwk("RS256"), "kid": 7},
        jwk("ES256", kid="fine"),
    )
    keys = from_server(content, frozenset(ALGORITHMS))
    assert [key.kid for key in keys] == ["good", None, "fine"]
    assert "no key" in trouble(jwks(jwk("HS256")), *ALGORITHMS, read=from_server)


@pytest.mark.parametrize(
    "content",
    [
        *(b"", b"{", b"[]", b"null", b"1", b'"x"', b"{}", b'{"keys":{}}', b'{"keys":[]}'),
        *(b'{"keys":1}', b'{"keys":[1,null,"x",[]]}', b"\xff", b"[" * 9999, b"<html>"),
        b" " * (LARGEST + 1),
        jwks(*[{"kty": "RSA"}] * (MOST_KEYS + 1)),
    ],
)
def test_garbage_of_a_server_is_an_error(content):
    assert trouble(content, "RS256", read=from_server)


@pytest.mark.parametrize(
    "content", [b"", b"   \n", b"x" * (LARGEST + 1), b"{", b"{}", b"-----BEGIN "]
)
def test_garbage_in_a_file_is_an_error(content):
    for algorithm in ("HS256", "RS256"):
        assert trouble(content, algorithm)


@given(
    st.dictionaries(
        st.sampled_from(["kty", "crv", "n", "e", "x", "y", "k", "use", "alg", "kid", "key_ops"]),
        st.sampled_from(["RSA", "EC", "OKP", "oct", "P-256", "Ed25519", "AQAB", "sig", "", "é"])
        | st.none()
        | st.integers()
        | st.lists(st.text(max_size=3), max_size=2)
        | st.text(max_size=50),
    )
)
def test_any_jwk_is_a_key_or_an_error_of_ours(members):
    for read in (from_file, from_server):
        with contextlib.suppress(KeyUnusable):
            keys = read(json.dumps({"keys": [members]}).encode(), frozenset(ALGORITHMS))
            assert all(key.algorithms for key in keys)


def test_a_kid_chooses():
    keys = [Key(b"1", frozenset({"A"}), "one"), Key(b"2", frozenset({"A"}), "two")]
    anybody = Key(b"3", frozenset({"A", "B"}))
    assert chosen([*keys, anybody], "A", "two") == [keys[1], anybody]
    assert chosen([*keys, anybody], "A", None) == [*keys, anybody]
    assert chosen([*keys, anybody], "B", "one") == [anybody]
    assert chosen(keys, "A", "three") == []
    assert chosen(keys, "C", None) == []
