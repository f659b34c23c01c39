"""The options of jwt, signed_url and secret, and what is wrong with them."""

import re

import pytest

from wsgate.config import ConfigError, Source, build
from wsgate.config.proofs import ALGORITHMS


@pytest.fixture
def folder(tmp_path):
    for name in ("ws.php", "key", "ca.pem"):
        (tmp_path / name).write_text("x")
    return tmp_path


def options(folder, use, **given):
    tree = {
        "hooks": {"login": {"use": use, **given}},
        "route": [{"script": "ws.php", "hooks": ["login"]}],
    }
    return build([Source(tree, str(folder))]).hooks["login"].options


def line(folder, use="jwt", **given):
    with pytest.raises(ConfigError) as caught:
        options(folder, use, **given)
    return str(caught.value)


FILE = {"algorithms": ["RS256"], "key_file": "key"}
URL = {"algorithms": ["RS256"], "jwks_url": "https://id.example/jwks"}


def test_what_is_right_is_taken(folder):
    jwt = options(folder, "jwt", **FILE, sources=["cookie:jwt", "first_message:token"])
    assert jwt.key_file == str(folder / "key")
    assert jwt.sources == ("cookie:jwt", "first_message:token")
    assert options(folder, "jwt", **URL, jwks_authority="ca.pem").jwks_stale == 86400
    assert options(folder, "signed_url", key_file="key").max_lifetime == 3600
    assert options(folder, "secret", secret_file="key").sources == ("authorization",)


def test_every_algorithm_may_stand_beside_those_of_its_kind(folder):
    secret = [name for name in ALGORITHMS if name.startswith("HS")]
    public = [name for name in ALGORITHMS if not name.startswith("HS")]
    for several in (secret, public):
        assert options(folder, "jwt", **{**FILE, "algorithms": several})


@pytest.mark.parametrize("public", [name for name in ALGORITHMS if not name.startswith("HS")])
@pytest.mark.parametrize("secret", ["HS256", "HS384", "HS512"])
def test_secrets_and_public_keys_never_mix(folder, public, secret):
    for both in ([public, secret], [secret, public]):
        assert "take one kind" in line(folder, **{**FILE, "algorithms": both})


@pytest.mark.parametrize("algorithm", ["none", "None", "", "RS128", "hs256", "ES256K", "dir"])
def test_no_other_algorithm_can_be_asked_for(folder, algorithm):
    assert line(folder, **{**FILE, "algorithms": algorithm})


LINES = [
    ({}, r'hooks.login.use = "jwt": needs hooks.login.algorithms too'),
    ({"algorithms": []}, r"hooks.login.algorithms = \[\]: empty; one at least is needed"),
    ({"algorithms": "RS256"}, r'hooks.login.use = "jwt": needs key_file or jwks_url too'),
    ({**FILE, **URL}, r'hooks.login.jwks_url = "https://id.example/jwks": key_file is given too; '
     "leave one out"),
    ({**FILE, "key_file": "gone"}, 'hooks.login.key_file = "gone": no such file'),
    ({**URL, "algorithms": "HS256"}, "hooks.login.jwks_url = .*: HS256 takes a secret, which no "
     "server gives away; use key_file"),
    ({**FILE, "jwks_authority": "ca.pem"}, "jwks_authority = .*: only with a jwks_url of https"),
    ({**URL, "jwks_authority": "gone.pem"}, "jwks_authority = .*: no such file"),
    ({**FILE, "sources": []}, r"sources = \[\]: empty"),
    ({**FILE, "sources": ["first_message", "cookie:a"]}, "sources = .*: first_message comes last"),
    ({**FILE, "sources": ["first_message", "first_message:a"]}, "first_message comes last"),
    ({**FILE, "sources": "cookie"}, 'sources = "cookie": write authorization, header:NAME'),
    ({**FILE, "sources": "cookie:a b"}, "write authorization"),
    ({**FILE, "sources": "header:"}, "write authorization"),
    ({**FILE, "sources": "query:a&b"}, "write authorization"),
    ({**FILE, "optional": True, "sources": "first_message"}, "optional = true: not with first_"),
    ({**FILE, "claims": ["a.b", "a_b"]}, "a.b and a_b would both be WSGATE_CLAIM_A_B; rename"),
    ({**FILE, "claims": ["é"]}, 'claims = "é": give it a name'),
    ({**FILE, "leeway": "6min"}, "leeway = .*: out of range"),
    ({**FILE, "first_message_timeout": 0}, "first_message_timeout = 0: out of range"),
    ({**FILE, "max_token_size": 255}, "max_token_size = 255: out of range"),
    ({**FILE, "audiense": "x"}, "unknown setting; did you mean hooks.login.audience?"),
]  # fmt: skip


@pytest.mark.parametrize(("given", "why"), LINES, ids=lambda v: v if isinstance(v, str) else "")
def test_what_is_wrong_is_one_line(folder, given, why):
    assert re.search(why, line(folder, **given))


@pytest.mark.parametrize(
    "url",
    [
        "https://id.example/jwks",
        "https://id.example:8443/realms/a/certs?x=1",
        "https://[2001:db8::1]/jwks",
        "http://127.0.0.1:8080/jwks",
        "http://127.8.9.1/jwks",
        "http://[::1]/jwks",
        "http://localhost/jwks",
    ],
)
def test_keys_come_from_https_or_from_this_machine(folder, url):
    assert options(folder, "jwt", **{**URL, "jwks_url": url}).jwks_url == url


@pytest.mark.parametrize(
    "url",
    [
        "http://id.example/jwks",
        "http://127.0.0.1.example/jwks",
        "http://localhost.example/jwks",
        "http://127.0.0.1@id.example/jwks",
        "http://[::ffff:8.8.8.8]/jwks",
        "http://2130706433/jwks",
        "https://user:secret@id.example/jwks",
        "https:///jwks",
        "https://id.example:0/jwks",
        "https://id.example:99999/jwks",
        "https://id.example/a b",
        "https://id.example/ä",
        "https://id.example/#keys",
        "ftp://id.example/jwks",
        "file:///etc/passwd",
        "id.example/jwks",
        "https://[",
        "//id.example/",
    ],
)
def test_keys_come_from_nowhere_else(folder, url):
    why = line(folder, **{**URL, "jwks_url": url})
    assert "jwks_url = " in why
    assert "secret" not in why


def test_a_secret_is_no_cookie_and_no_subprotocol(folder):
    for source in ("cookie:a", "subprotocol:a."):
        assert "write authorization, header:NAME, query:NAME" in line(
            folder, "secret", secret_file="key", sources=source
        )
    assert "needs hooks.login.secret_file too" in line(folder, "secret")
    assert "needs hooks.login.key_file too" in line(folder, "signed_url")
