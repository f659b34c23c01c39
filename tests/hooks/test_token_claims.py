"""wsgate.hooks.tokens.claims: claims as params for PHP."""

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsgate.config.proofs import claim_param
from wsgate.hooks.tokens.claims import as_param, as_user, value_at


@pytest.mark.parametrize(
    ("text", "param", "path"),
    [
        ("sub", "WSGATE_CLAIM_SUB", "sub"),
        ("realm_access.roles", "WSGATE_CLAIM_REALM_ACCESS_ROLES", "realm_access.roles"),
        (
            "https://a.example/roles",
            "WSGATE_CLAIM_HTTPS_A_EXAMPLE_ROLES",
            "https://a.example/roles",
        ),
        ("roles=https://a.example/roles", "WSGATE_CLAIM_ROLES", "https://a.example/roles"),
        ("a=b=c", "WSGATE_CLAIM_A", "b=c"),
        ("größe", "WSGATE_CLAIM_GR_SSE", "größe"),
        ("x" * 51, "WSGATE_CLAIM_" + "X" * 51, "x" * 51),
    ],
)
def test_a_claim_has_a_name_for_php(text, param, path):
    assert claim_param(text) == (param, path)


@pytest.mark.parametrize(
    "text", ["", "...", "é", "=sub", "a=", "a b=sub", "a-b=sub", "x" * 52, "_"]
)
def test_a_name_that_php_could_not_have_is_an_error(text):
    with pytest.raises(ValueError, match="NAME=CLAIM"):
        claim_param(text)


@given(st.text(max_size=80))
def test_any_name_is_safe_or_an_error(text):
    try:
        param = claim_param(text)[0]
    except ValueError:
        return
    assert re.fullmatch(r"WSGATE_CLAIM_[A-Z0-9][A-Z0-9_]*", param)
    assert len(param) <= 64


CLAIMS = {
    "sub": "ada",
    "zero": 0,
    "null": None,
    "realm_access": {"roles": ["admin"], "deep": {"er": 1}},
    "https://a.example/roles": ["editor"],
    "a.b": {"c": 1},
    "a": {"b": {"c": 2, "d": 3}},
}


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("sub", "ada"),
        ("zero", 0),
        ("null", None),
        ("nobody", None),
        ("sub.x", None),
        ("realm_access.roles", ["admin"]),
        ("realm_access.deep.er", 1),
        ("realm_access.deep", {"er": 1}),
        ("https://a.example/roles", ["editor"]),
        ("a.b", {"c": 1}),
        ("a.b.c", 2),
        ("a.b.d", 3),
        (".", None),
    ],
)
def test_a_dot_goes_down_unless_a_claim_has_that_name(path, value):
    assert value_at(CLAIMS, path) == value


@pytest.mark.parametrize(
    ("value", "param"),
    [
        (None, ""),
        ("", ""),
        ("ada", "ada"),
        (7, "7"),
        (True, "true"),
        (1.5, "1.5"),
        (["a", "ü"], '["a","ü"]'),
        ({"a": None}, '{"a":null}'),
    ],
)
def test_what_is_no_text_is_json(value, param):
    assert as_param(value) == param
    if value is not None and not isinstance(value, str):
        assert json.loads(param) == value


@pytest.mark.parametrize(
    ("value", "user"),
    [
        *(("ada", "ada"), (7, "7"), (0, "0")),
        *((value, None) for value in ("", None, True, 1.5, ["ada"], {"a": 1})),
    ],
)
def test_a_user_is_a_text_or_a_whole_number(value, user):
    assert as_user(value) == user
