"""wsgate.hooks.tokens.urls: which signed URLs hold."""

import hashlib
import hmac
import string

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from wsgate.hooks.tokens.urls import UrlRefused, signature, value_in, verified

KEY = b"0123456789abcdef0123456789abcdef"
OTHER = KEY[::-1]
NOW = 1_800_000_000
QUERY = f"user=42&expires={NOW + 60}"


def signed(query=QUERY, path="/chat", key=KEY):
    return f"{query}&signature={signature(key, path, query)}"


def refusal(query, path="/chat", keys=(KEY,), now=NOW, longest=None):
    with pytest.raises(UrlRefused) as refused:
        verified(path, query, keys, now, longest)
    return str(refused.value)


def test_the_signature_is_that_of_the_documentation():
    message = b"/chat?user=42&expires=1800000060"
    assert signature(KEY, "/chat", QUERY) == hmac.new(KEY, message, hashlib.sha256).hexdigest()


@pytest.mark.parametrize(
    "query",
    [
        "",
        "expires=9999999999",
        QUERY,
        QUERY + "&signature=",
        "signature=" + "0" * 64,
        "&signature=" + "0" * 64,
        QUERY + "&signature=" + "0" * 64,
        signed() + "0",
        signed()[:-1],
        signed() + "&",
        signed() + "&user=43",
        signed() + "\n",
        "user=43&" + signed(),
        signed().upper(),
        signed().replace("signature=", "signature=%30"),
        signed().replace("&signature", ";signature"),
        signed().replace("&signature", "&Signature"),
        signed().replace("user=42", "user=43"),
        signed().replace("user=42", "user=%342"),
        signed().replace(f"{NOW + 60}", f"{NOW + 61}"),
        signed() + "&signature=" + "0" * 64,
        signed(key=OTHER),
        signed(path="/other"),
        signed(path="/chat/"),
        signed().replace("user=42&", ""),
        "\u20ac&signature=" + "0" * 64,
    ],
)
def test_what_was_not_signed_as_it_stands_is_refused(query):
    assert refusal(query)


@given(
    st.integers(0, 1000),
    st.sampled_from(string.ascii_letters + string.digits + "&=%+;?#/. \n\0é"),
    st.sampled_from(["replace", "insert", "delete"]),
)
def test_any_mutation_of_a_good_url_is_refused(place, letter, how):
    path, good = "/chat", signed()
    url = f"{path}?{good}"
    place %= len(url)
    mutated = url[:place] + ("" if how == "delete" else letter) + url[place + (how != "insert") :]
    assume(mutated != url)
    path, _, query = mutated.partition("?")
    refusal(query, path=path)


@given(st.text(max_size=100), st.text(max_size=20))
def test_nothing_else_is_raised(query, path):
    refusal(query, path=path)
    refusal(f"{query}&signature={'0' * 64}", path=path)


@given(
    st.text(st.characters(min_codepoint=33, max_codepoint=255), min_size=1, max_size=30),
    st.lists(st.text(st.characters(min_codepoint=33, max_codepoint=255, exclude_characters="&"))),
)
def test_any_url_can_be_signed(path, items):
    assume(not any(item.partition("=")[0].replace("%65", "e") == "expires" for item in items))
    assume("%" not in "".join(items))
    query = "&".join([*items, f"expires={NOW + 1}"])
    assert verified(path, signed(query, path), (OTHER, KEY), NOW, None).query == query


def test_any_of_several_keys_may_have_signed_it():
    for key in (KEY, OTHER):
        assert verified("/chat", signed(key=key), (KEY, OTHER), NOW, None) == (QUERY, NOW + 60)
    assert refusal(signed(), keys=()) == "its signature is wrong"


def test_a_url_ends_at_its_second():
    assert verified("/chat", signed(), (KEY,), NOW + 59.999, None).ends == NOW + 60
    assert refusal(signed(), now=NOW + 60) == "it has expired"


def test_a_url_has_no_more_left_than_allowed():
    assert verified("/chat", signed(), (KEY,), NOW, 60.0)
    assert "max_lifetime" in refusal(signed(), longest=59.999)


@pytest.mark.parametrize(
    "expires",
    [
        "",
        "0",
        "-1",
        "01",
        "1.5",
        "1e9",
        " 1800000060",
        "+1800000060",
        "1" * 13,
        "%D9%A3",
        "0x7fffffff",
    ],
)
def test_the_end_is_a_plain_number(expires):
    assert "no expires" in refusal(signed(f"expires={expires}"))


def test_the_end_is_there_once():
    assert "no expires" in refusal(signed("user=42"))
    twice = f"expires={NOW + 60}&expires={NOW + 6}"
    assert "twice" in refusal(signed(twice))
    assert "twice" in refusal(signed(f"expires={NOW + 60}&%65xpires={NOW + 6}"))


@pytest.mark.parametrize(
    ("query", "value"),
    [
        ("user=42", "42"),
        ("a=1&user=A%20b%26", "A b&"),
        ("user=a+b", "a b"),
        ("us%65r=4", "4"),
        ("user", ""),
        ("", ""),
        ("users=1", ""),
        ("user=a=b", "a=b"),
        ("user=%C3%A9", "é"),
        ("user=%zz", "%zz"),
    ],
)
def test_a_parameter_is_read(query, value):
    assert value_in(query, "user") == value


@pytest.mark.parametrize("query", ["user=1&user=2", "user=1&%75ser=1", "user=%ff"])
def test_a_parameter_with_two_meanings_is_refused(query):
    with pytest.raises(UrlRefused):
        value_in(query, "user")
