"""Who shares an answer with whom."""

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.hooks.cache.clients import Client
from wsgate.hooks.cache.keys import address_of, counted, digest, message_key, variant_key

# -- the message


def test_the_same_message_at_the_same_address_has_the_same_key_whoever_sends_it():
    one = address_of(Client("1", user="a", fields=[("cookie", "x=1")]), None)
    other = address_of(Client("2", user="b"), None)
    assert message_key(one, False, b"hello") == message_key(other, False, bytearray(b"hello"))


@pytest.mark.parametrize(
    "other",
    [
        Client(route="/"),
        Client(target="/prices/"),
        Client(target="/prices?a=1"),
        Client(target="/prices?a=1&b=2"),
        Client(is_secure=True),
        Client(subprotocol="v1"),
        Client(subprotocol=""),
    ],
)
def test_another_address_has_another_key(other):
    assert address_of(other, None) != address_of(Client(), None)


def test_another_host_is_another_address_in_whichever_case():
    def at(host):
        client = Client()
        client.fields = [("host", host)]
        return address_of(client, None)

    assert at("example.com") == at("EXAMPLE.com")
    assert at("example.com") != at("example.org")
    assert at("example.com") != at("example.com:81")


def test_text_and_binary_are_not_the_same():
    address = address_of(Client(), None)
    assert message_key(address, False, b"a") != message_key(address, True, b"a")


parts = st.lists(st.none() | st.binary(max_size=4), max_size=4)


@given(parts, parts)
def test_only_the_same_parts_have_the_same_digest(one, other):
    assert (digest(*one) == digest(*other)) == (one == other)


# -- what it varies on


@pytest.mark.parametrize(
    ("name", "one", "other"),
    [
        ("cookie", {"fields": [("cookie", "id=1")]}, {"fields": [("cookie", "id=2")]}),
        ("cookie", {"fields": [("cookie", "")]}, {}),
        (
            "cookie",
            {"fields": [("cookie", "a; b")]},
            {"fields": [("cookie", "a"), ("cookie", "b")]},
        ),
        ("wsgate-user", {"user": "1"}, {"user": "2"}),
        ("wsgate-user", {"user": "1"}, {}),
        ("wsgate-user", {"user": "-"}, {}),
        ("wsgate-var-lang", {"variables": {"LANG": "de"}}, {"variables": {"LANG": "en"}}),
        ("wsgate-var-lang", {"variables": {"LANG": "de"}}, {}),
        ("wsgate-var-my-lang", {"variables": {"MY_LANG": "de"}}, {}),
        ("wsgate-var-my_lang", {"variables": {"MY_LANG": "de"}}, {}),
        (
            "wsgate-param-wsgate-claim-sub",
            {"params": {"WSGATE_CLAIM_SUB": "1"}},
            {"params": {"WSGATE_CLAIM_SUB": "2"}},
        ),
    ],
)
def test_who_differs_in_what_it_varies_on_has_another_key(name, one, other):
    one, other = Client(**one), Client(**other)
    assert variant_key(b"k", [name], one) != variant_key(b"k", [name], other)
    assert variant_key(b"k", ["accept-language"], one) == variant_key(
        b"k", ["accept-language"], other
    )


def test_a_user_is_not_a_header_of_that_name():
    forged = Client(fields=[("wsgate-user", "1"), ("wsgate-var-lang", "de")])
    names = ["wsgate-user", "wsgate-var-lang"]
    assert variant_key(b"k", names, forged) == variant_key(b"k", names, Client())
    real = Client(user="1", variables={"LANG": "de"})
    assert variant_key(b"k", names, forged) != variant_key(b"k", names, real)


def test_values_cannot_be_moved_from_one_name_to_another():
    one = Client(fields=[("a", "x"), ("b", "y")])
    other = Client(fields=[("a", "x1:y"), ("b", "")])
    assert variant_key(b"k", ["a", "b"], one) != variant_key(b"k", ["a", "b"], other)
    assert variant_key(b"k", ["a"], one) != variant_key(b"k", ["a", "b"], one)


# -- the query


@pytest.mark.parametrize(
    ("query", "kept"),
    [
        ("room=1", "room=1"),
        ("token=secret&room=1", "room=1"),
        ("room=1&x&room=2", "room=1&room=2"),
        ("room=2&room=1", "room=2&room=1"),
        ("room=1&lang=de&token=x", "lang=de&room=1"),
        ("lang=de&room=1", "lang=de&room=1"),
        ("&&room=1&", "room=1"),
        ("room", "room"),
        ("Room=1", ""),
        ("", ""),
    ],
)
def test_of_a_query_only_the_parameters_of_the_setting_count(query, kept):
    assert counted(query, frozenset({"room", "lang"})) == kept


@pytest.mark.parametrize(
    "query",
    [
        "room=1&room%00x=2",
        "room=1&ro%6fm=2",
        "room=1&+room=2",
        "room=1&%20room=2",
        "room=1&room[]=2",
        "room=1&room[=2",
        "room=1&x;room=2",
        "room=1&x=1;room=2",
        "room=1&=2",
        "room=1&r\u00f6m=2",
    ],
)
def test_a_query_with_a_name_that_php_may_take_for_another_counts_whole(query):
    assert counted(query, frozenset({"room"})) == query


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["room", "token", "ro%6fm", "room[]", "a.b"]), st.text(max_size=3)
        )
    )
)
def test_queries_with_other_values_of_what_counts_have_other_keys(pairs):
    pairs = [(name, quote(value, safe="")) for name, value in pairs]
    query = "&".join(f"{name}={value}" for name, value in pairs)
    other = "&".join([query, "room=other"])
    assert counted(query, frozenset({"room"})) != counted(other, frozenset({"room"}))
