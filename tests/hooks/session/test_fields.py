"""What PHP gets of a session, and who must have one."""

import pytest

from wsgate.hooks.session import fields
from wsgate.hooks.session.formats import read
from wsgate.hooks.session.unserialize import Unreadable

SESSION = read(
    b'user_id|i:42;name|s:4:"J\xc3\xb6n";admin|b:1;guest|b:0;nothing|N;zero|i:0;empty|s:0:"";'
    b'null|s:1:"0";rate|d:0.30000000000000004;cart|a:2:{s:5:"items";i:3;i:0;a:1:{s:2:"id";i:7;}}'
    b'none|a:0:{}user|O:1:"P":1:{s:2:"id";i:9;}latin|s:1:"\xe4";dotted.name|i:1;',
    "php",
)


@pytest.mark.parametrize(
    ("field", "text"),
    [
        ("user_id", "42"),
        ("name", "Jön"),
        ("admin", "1"),
        ("guest", "0"),
        ("nothing", ""),
        ("missing", ""),
        ("rate", "0.30000000000000004"),
        ("cart.items", "3"),
        ("cart.0.id", "7"),
        ("cart.1.id", ""),
        ("user_id.x", ""),
        ("cart", ""),
        ("user", ""),
        ("user.id", ""),
    ],
)
def test_a_field_is_a_text(field, text):
    assert fields.text(fields.find(SESSION, field)) == text


def test_a_text_that_is_not_utf_8_is_refused():
    with pytest.raises(Unreadable):
        fields.params(SESSION, ["latin"])
    with pytest.raises(Unreadable):
        fields.user(SESSION, "latin")


def test_params_have_the_fields_in_their_names():
    assert fields.params(SESSION, ["user_id", "cart.items", "ein-Wert"]) == {
        "WSGATE_SESSION_USER_ID": "42",
        "WSGATE_SESSION_CART_ITEMS": "3",
        "WSGATE_SESSION_EIN_WERT": "",
    }


@pytest.mark.parametrize("field", ["user_id", "name", "admin", "rate", "cart", "user", "cart.0.id"])
def test_a_field_that_says_something_is_there(field):
    assert fields.lacking(SESSION, [field]) is None


@pytest.mark.parametrize(
    "field", ["guest", "nothing", "missing", "zero", "empty", "null", "none", "user.id"]
)
def test_a_field_that_php_calls_empty_is_not_there(field):
    assert fields.lacking(SESSION, ["user_id", field]) == field


@pytest.mark.parametrize(
    ("field", "user"),
    [
        ("user_id", "42"),
        ("name", "Jön"),
        ("cart.0.id", "7"),
        (None, None),
        ("admin", None),
        ("zero", None),
        ("empty", None),
        ("rate", None),
        ("cart", None),
        ("user", None),
        ("missing", None),
    ],
)
def test_a_user_is_a_number_or_a_name(field, user):
    assert fields.user(SESSION, field) == user
