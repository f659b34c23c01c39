"""The options of the hook `session`."""

import pytest

from wsgate.config.about import described
from wsgate.config.errors import OptionError
from wsgate.config.session import SessionOptions, param_name

KINDS = {name: about.kind for name, about in described(SessionOptions).items()}


def parsed(name, value):
    return KINDS[name].parse(value, "/")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("cookie", "PHPSESSID"),
        ("cookie", "__Host-sid"),
        ("save_path", "/var/lib/php/sessions"),
        ("save_path", "5;0640;/var/lib/php/sessions"),
        ("save_path", "2;/s"),
        ("serialize_handler", "php"),
        ("serialize_handler", "php_serialize"),
        ("prefix", "memc.sess."),
        ("prefix", ""),
        ("user_field", "user.id"),
    ],
)
def test_what_php_has_is_taken(name, value):
    assert parsed(name, value) == value


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("cookie", "my.sid", "session.name"),
        ("cookie", "a=b", "session.name"),
        ("save_path", "sessions", "as PHP has it"),
        ("save_path", "tcp://127.0.0.1:6379", "as PHP has it"),
        ("save_path", "17;/s", "as PHP has it"),
        ("serialize_handler", "igbinary", "session.serialize_handler of php.ini"),
        ("serialize_handler", "msgpack", "session.serialize_handler of php.ini"),
        ("serialize_handler", "json", "php_serialize"),
        ("prefix", "a b", "printable"),
        ("user_field", "a..b", "not a field"),
        ("user_field", ".", "not a field"),
        ("user_field", "x" * 257, "not a field"),
        ("fields", ["x" * 50], "too long a name"),
        ("max_size", 1023, "out of range"),
    ],
)
def test_what_cannot_be_is_refused(name, value, why):
    with pytest.raises(ValueError, match=why):
        parsed(name, value)


def test_a_name_for_a_param_is_as_long_as_may_be():
    name = "x" * (64 - len("WSGATE_SESSION_"))
    assert parsed("fields", [name]) == (name,)
    assert parsed("required", [name + "x"]) == (name + "x",)
    with pytest.raises(ValueError, match="too long a name"):
        parsed("fields", [name + "x"])


@pytest.mark.parametrize(
    ("options", "option"),
    [
        ({"fields": ("a.b", "a_b")}, "fields"),
        ({"prefix": "x"}, "prefix"),
        ({"store": "cache", "owner": "root"}, "owner"),
    ],
)
def test_options_that_do_not_go_together_are_refused(options, option):
    with pytest.raises(OptionError) as caught:
        SessionOptions(**options)
    assert caught.value.option == option


def test_a_field_becomes_a_param():
    assert param_name("cart.items") == "WSGATE_SESSION_CART_ITEMS"
