"""Only what PHP itself makes is the id of a session."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsgate.hooks.session.names import session_id

ID = "abcdefghij0123456789ABCDEF"


@pytest.mark.parametrize(
    "cookie",
    [
        None,
        "",
        "../../../../etc/passwd-and-more",
        "..%2f..%2f..%2f..%2fetc%2fpasswd",
        f"{ID}/../x",
        f"/{ID}",
        f".{ID}",
        f"{ID}\0",
        f"{ID}%00",
        f"{ID}\n",
        f"{ID}%0a",
        f"{ID}%0d%0aGET other",
        f"{ID} x",
        f"{ID}_LOCK",
        f"lock.{ID}",
        f'"{ID}"',
        f"{ID}%",
        f"{ID}%2",
        f"{ID}%252c",
        f"{ID}\xe4",
        f"{ID}\u0661",
        "a" * 21,
        "a" * 257,
        "%61" * 257,
        "*" * 30,
    ],
)
def test_anything_else_is_none(cookie):
    assert session_id(cookie) is None


@pytest.mark.parametrize("cookie", ["a" * 22, "a" * 256, ID, "-" * 22, "," * 22])
def test_an_id_of_php_is_one(cookie):
    assert session_id(cookie) == cookie


def test_php_sends_a_comma_percent_encoded():
    assert session_id("a%2Cb%2c" + ID) == f"a,b,{ID}"
    assert session_id("%61" * 256) == "a" * 256


@given(st.text(alphabet=st.characters(max_codepoint=255), max_size=300))
def test_nothing_else_than_letters_digits_comma_and_hyphen_comes_out(cookie):
    found = session_id(cookie)
    if found is not None:
        assert 22 <= len(found) <= 256
        assert found.replace(",", "").replace("-", "").isalnum()
        assert found.isascii()
