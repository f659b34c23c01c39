"""wsgate.hooks.tokens: which tokens hold. What an attacker would try comes first."""

import hashlib
import json
import string

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from tests.hooks.token_keys import (
    NOW,
    SECRET,
    encoded,
    forged,
    jwk,
    jwks,
    private,
    public_pem,
    signed,
    token,
)
from wsgate.config.proofs import ALGORITHMS
from wsgate.hooks.tokens.keys import Key, chosen, from_file, from_server
from wsgate.hooks.tokens.verify import Rules, TokenRefused, opened, verified

ASYMMETRIC = [name for name in ALGORITHMS if not name.startswith("HS")]
CLAIMS = {"sub": "mallory", "exp": NOW + 60}


def rules(*algorithms, **others):
    return Rules(algorithms=frozenset(algorithms), **others)


def keys_for(*algorithms):
    files = [SECRET if name.startswith("HS") else public_pem(name) for name in algorithms]
    return [
        key
        for name, file in zip(algorithms, files, strict=True)
        for key in from_file(file, frozenset({name}))
    ]


def check(text, rules, keys, now=NOW):
    presented = opened(text, rules)
    return verified(presented, chosen(keys, presented.algorithm, presented.kid), rules, now)


def refusal(*arguments, **others):
    with pytest.raises(TokenRefused) as refused:
        check(*arguments, **others)
    return str(refused.value)


# -- attacks


@pytest.mark.parametrize("algorithm", ASYMMETRIC)
@pytest.mark.parametrize("digest", [hashlib.sha256, hashlib.sha384, hashlib.sha512])
def test_a_public_key_is_never_the_secret_of_an_hmac(algorithm, digest):
    name = f"HS{digest().digest_size * 8}"
    key = public_pem(algorithm)
    for secret in (key, key.strip(), key.replace(b"\n", b"")):
        forgery = signed(json.dumps(CLAIMS).encode(), {"alg": name}, secret, digest)
        assert "not allowed" in refusal(forgery, rules(algorithm), keys_for(algorithm))
        # Not even were both allowed: the key is for its own algorithms.
        both = rules(algorithm, name)
        assert "no key" in refusal(forgery, both, keys_for(algorithm))


@pytest.mark.parametrize("name", ["none", "None", "NONE", "nOnE", "", " ", "HS256 ", "hs256"])
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_no_algorithm_is_no_algorithm(name, algorithm):
    for signature in (b"", b"x", b"\0" * 32):
        forgery = forged({"alg": name}, CLAIMS, signature)
        assert refusal(forgery, rules(algorithm), keys_for(algorithm))
        assert refusal(forged({}, CLAIMS, signature), rules(algorithm), keys_for(algorithm))


def test_none_cannot_be_asked_for():
    assert "none" not in {name.lower() for name in ALGORITHMS}


@pytest.mark.parametrize("value", [None, 1, True, [], ["HS256"], {"a": 1}, 1.5])
def test_an_algorithm_that_is_no_text_is_refused(value):
    assert refusal(forged({"alg": value}, CLAIMS, b"x" * 32), rules("HS256"), keys_for("HS256"))


def test_a_key_in_the_token_is_not_used():
    mine = private("RS256", 1)
    header = {"jwk": jwk("RS256", 1), "x5u": "http://127.0.0.1/", "jku": "http://127.0.0.1/"}
    forgery = token("RS256", key=mine, header=header)
    assert refusal(forgery, rules("RS256"), keys_for("RS256")) == "its signature is wrong"


@pytest.mark.parametrize("kid", ["../../dev/null", "' or 1=1 --", "\0", "x" * 3000, "ä\n"])
def test_a_strange_kid_only_names_no_key(kid):
    keys = from_file(jwks(jwk("HS256", kid="a")), frozenset({"HS256"}))
    assert refusal(token(kid=kid), rules("HS256"), keys) == "no key is known for it"


@pytest.mark.parametrize("kid", [1, None, [], {}])
def test_a_kid_is_a_text(kid):
    assert refusal(forged({"alg": "HS256", "kid": kid}, CLAIMS), rules("HS256"), [])


@pytest.mark.parametrize(
    "header", [{"crit": ["exp"], "exp": 1}, {"crit": ["b64"], "b64": False}, {"b64": True}]
)
def test_extensions_are_refused(header):
    forgery = signed(json.dumps(CLAIMS).encode(), {"alg": "HS256", **header})
    assert refusal(forgery, rules("HS256"), keys_for("HS256"))


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_token_of_another_key_is_refused(algorithm):
    if algorithm.startswith("HS"):
        forgery = token(algorithm, key=SECRET[::-1])
    else:
        forgery = token(algorithm, number=1)
    why = refusal(forgery, rules(algorithm), keys_for(algorithm))
    assert why == "its signature is wrong"


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("other", ALGORITHMS)
def test_a_key_verifies_no_other_algorithm_than_those_allowed(algorithm, other):
    if algorithm != other:
        assert refusal(token(other), rules(algorithm), keys_for(algorithm))


def test_an_ecdsa_signature_of_zeros_is_none():
    for algorithm, size in (("ES256", 64), ("ES384", 96), ("ES512", 132)):
        forgery = forged({"alg": algorithm}, CLAIMS, b"\0" * size)
        assert refusal(forgery, rules(algorithm), keys_for(algorithm)) == "its signature is wrong"


@pytest.mark.parametrize(
    "mutate",
    [
        lambda text: text + "=",
        lambda text: text + "==",
        lambda text: text + ".",
        lambda text: "." + text,
        lambda text: text + "\n",
        lambda text: " " + text,
        lambda text: text + "\0",
        lambda text: text.replace(".", "..", 1),
        lambda text: text.replace(".", ".\u200b", 1),
        lambda text: text.rpartition(".")[0],
        lambda text: text.rpartition(".")[0] + ".",
        lambda text: text.replace("e", "е", 1),
        lambda text: text * 2,
        lambda text: "",
    ],
)
def test_there_is_one_form_of_a_token(mutate):
    assert refusal(mutate(token()), rules("HS256"), keys_for("HS256"))


GOOD = {name: token(name) for name in ("HS256", "RS256", "PS256", "ES256", "EdDSA")}
LETTERS = string.ascii_letters + string.digits + "-_.=+/ "


@given(
    st.sampled_from(sorted(GOOD)),
    st.integers(0, 10_000),
    st.sampled_from(LETTERS),
    st.sampled_from(["replace", "insert", "delete"]),
)
def test_any_mutation_of_a_good_token_is_refused(algorithm, place, letter, how):
    text = GOOD[algorithm]
    place %= len(text)
    after = text[place + (how != "insert") :]
    mutated = text[:place] + ("" if how == "delete" else letter) + after
    assume(mutated != text)
    with pytest.raises(TokenRefused):
        check(mutated, rules(algorithm), keys_for(algorithm))


@given(st.text(max_size=200) | st.lists(st.binary(max_size=60), min_size=3, max_size=3))
@example([b"{}", b"{}", b""])
@example([b"[]", b"{}", b"x"])
@example([b"[" * 50, b"{}", b"x"])
def test_nothing_else_is_a_token_and_nothing_else_is_raised(garbage):
    text = garbage if isinstance(garbage, str) else ".".join(map(encoded, garbage))
    with pytest.raises(TokenRefused):
        check(text, rules(*ALGORITHMS), keys_for("HS256", "RS256"))


@given(st.binary(max_size=80))
@example(b"[" * 79)
@example(b'{"exp":1e999}')
@example(b'{"exp":NaN}')
@example(b'{"exp":Infinity}')
@example(b'{"exp":' + b"9" * 5000 + b"}")
@example('{"exp":9000000000}'.encode("utf-16"))
@example(b'"text"')
@example(b"null")
def test_signed_garbage_is_refused_too(payload):
    with pytest.raises(TokenRefused):
        check(signed(payload), rules("HS256"), keys_for("HS256"))


def test_deep_claims_are_refused_and_not_a_fault():
    payload = b'{"a":' + b"[" * 5000 + b"]" * 5000 + b"}"
    assert refusal(signed(payload), rules("HS256", largest=20_000), keys_for("HS256"))


def test_what_the_log_says_of_a_foreign_algorithm_is_one_short_line():
    why = refusal(forged({"alg": "x\n\x1b[2J" * 50}, CLAIMS), rules("HS256"), [])
    assert why.isprintable()
    assert len(why) < 80


def test_a_token_without_a_kid_is_tried_with_eight_keys_only():
    ours = Key(SECRET, frozenset({"HS256"}))
    others = [Key(b"%064d" % number, ours.algorithms) for number in range(8)]
    assert check(token(), rules("HS256"), [*others[:7], ours])
    assert refusal(token(), rules("HS256"), [*others, ours]) == "its signature is wrong"


# -- what holds


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_token_of_each_algorithm_holds(algorithm):
    good = check(token(algorithm), rules(algorithm), keys_for(algorithm))
    assert good.claims == {"sub": "ada", "exp": NOW + 60}
    assert good.ends == NOW + 60


def test_a_token_of_ed448_holds():
    keys = from_file(public_pem("Ed448"), frozenset({"EdDSA"}))
    assert check(token("Ed448"), rules("EdDSA"), keys).claims["sub"] == "ada"


def test_a_token_of_another_time_s_key_holds_by_its_kid():
    sets = from_server(
        jwks(jwk("RS256", kid="old"), jwk("RS256", 1, kid="new")), frozenset({"RS256"})
    )
    for kid, number in (("old", 0), ("new", 1)):
        assert check(token("RS256", kid=kid, number=number), rules("RS256"), sets)
    assert refusal(token("RS256", kid="new"), rules("RS256"), sets) == "its signature is wrong"
    # Without one, each is tried.
    assert check(token("RS256", number=1), rules("RS256"), sets)


def test_the_size_of_a_token_is_bounded():
    text = token(pad="x" * 500)
    assert check(text, rules("HS256", largest=len(text)), keys_for("HS256"))
    why = refusal(text, rules("HS256", largest=len(text) - 1), keys_for("HS256"))
    assert "max_token_size" in why


@pytest.mark.parametrize(("leeway", "last"), [(0.0, NOW + 60), (5.0, NOW + 65)])
def test_a_token_ends_at_its_second_and_not_after(leeway, last):
    both = rules("HS256", leeway=leeway), keys_for("HS256")
    assert check(token(), *both, now=last - 0.001).ends == last
    assert refusal(token(), *both, now=last) == "it has expired"
    assert refusal(token(), *both, now=last + 1) == "it has expired"


def test_a_token_without_an_end_holds_only_where_that_is_allowed():
    assert refusal(token(exp=None), rules("HS256"), keys_for("HS256")) == "it has no exp"
    assert (
        check(token(exp=None), rules("HS256", needs_expiry=False), keys_for("HS256")).ends is None
    )
    assert refusal(token(exp=NOW - 1), rules("HS256", needs_expiry=False), keys_for("HS256")) == (
        "it has expired"
    )


@pytest.mark.parametrize("name", ["nbf", "iat"])
def test_a_token_of_the_future_waits_for_its_second(name):
    text = token(**{name: NOW + 10})
    both = rules("HS256"), keys_for("HS256")
    assert check(text, *both, now=NOW + 10)
    assert name in refusal(text, *both, now=NOW + 9.999)
    assert check(text, rules("HS256", leeway=10.0), keys_for("HS256"))
    assert refusal(text, rules("HS256", leeway=9.999), keys_for("HS256"))


@pytest.mark.parametrize("name", ["exp", "nbf", "iat"])
@pytest.mark.parametrize("value", ["1900000000", True, [], {}, -1, 2**53, 10**400, 1e300])
def test_a_time_is_a_number_of_seconds(name, value):
    assert refusal(token(**{name: value}), rules("HS256"), keys_for("HS256")) == (
        f"its {name} is no time"
    )


@pytest.mark.parametrize("value", [{"exp": None}, {"nbf": None}, {"iat": None}])
def test_a_time_that_is_null_is_none(value):
    text = signed(json.dumps({**CLAIMS, **value}).encode())
    assert "is no time" in refusal(text, rules("HS256"), keys_for("HS256"))


@pytest.mark.parametrize(
    ("ours", "theirs", "is_good"),
    [
        ((), None, True),
        ((), [], True),
        ((), "chat", False),
        ((), ["chat"], False),
        (("chat",), None, False),
        (("chat",), "chat", True),
        (("chat",), "Chat", False),
        (("chat",), "chat2", False),
        (("chat",), ["other", "chat"], True),
        (("chat", "more"), ["more"], True),
        (("chat",), ["other"], False),
        (("chat",), [], False),
        (("chat",), 1, False),
        (("chat",), {"chat": 1}, False),
        (("chat",), ["chat", 1], False),
    ],
)
def test_a_token_is_for_its_audience(ours, theirs, is_good):
    text, asked = token(aud=theirs), rules("HS256", audience=ours)
    if is_good:
        assert check(text, asked, keys_for("HS256"))
    else:
        assert "aud" in refusal(text, asked, keys_for("HS256"))


@pytest.mark.parametrize(
    ("ours", "theirs", "is_good"),
    [
        ((), None, True),
        ((), "https://anybody", True),
        (("https://id",), "https://id", True),
        (("https://id", "https://id2"), "https://id2", True),
        (("https://id",), "https://id/", False),
        (("https://id",), None, False),
        (("https://id",), "https://other", False),
    ],
)
def test_a_token_is_of_its_issuer(ours, theirs, is_good):
    text, asked = token(iss=theirs), rules("HS256", issuers=ours)
    if is_good:
        assert check(text, asked, keys_for("HS256"))
    else:
        assert "iss" in refusal(text, asked, keys_for("HS256"))


def test_an_issuer_that_is_no_text_is_another():
    text = signed(json.dumps({**CLAIMS, "iss": ["a"]}).encode())
    assert "iss" in refusal(text, rules("HS256", issuers=("a",)), keys_for("HS256"))


def test_claims_can_be_required():
    asked = rules("HS256", required=("sub", "role"))
    assert check(token(role=""), asked, keys_for("HS256"))
    assert refusal(token(), asked, keys_for("HS256")) == "it has no role"
    assert refusal(token(role="x", sub=None), asked, keys_for("HS256")) == "it has no sub"
