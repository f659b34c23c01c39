import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsgate.redis.url import Address, parse


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("redis://127.0.0.1", Address("127.0.0.1")),
        ("redis://h:6380/3", Address("h", 6380, database=3)),
        ("redis://h?db=3", Address("h", database=3)),
        ("redis://[::1]:6380", Address("::1", 6380)),
        ("redis://:s%40p%2Fx@h", Address("h", password="s@p/x")),
        ("redis://me:pw@h", Address("h", user="me", password="pw")),
        ("rediss://h", Address("h", secure=True)),
        (
            "rediss://h:1?ssl_ca_certs=/etc/ca.pem",
            Address("h", 1, secure=True, roots="/etc/ca.pem"),
        ),
        ("unix:///run/redis.sock", Address(path="/run/redis.sock")),
        (
            "unix://:pw@/run/redis.sock?db=2",
            Address(path="/run/redis.sock", password="pw", database=2),
        ),
    ],
)
def test_the_forms_of_redis_py_are_understood(url, address):
    assert parse(url) == address


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("", "not a URL of Redis"),
        ("127.0.0.1:6379", "not a URL of Redis"),
        ("http://h", "not a URL of Redis"),
        ("redis://", "names no host"),
        ("redis://:pw@", "names no host"),
        ("redis://h:0", "a port of 1 to 65535"),
        ("redis://h:65536", "not a URL"),
        ("redis://h/x", "a number as its database"),
        ("redis://h/1?db=1", "twice"),
        ("redis://h?ssl_ca_certs=/x", "known: db"),
        ("redis://:a#b@h", "#"),
        ("rediss://h?ssl_cert_reqs=none", "always verified"),
        ("redis://h\n", "control characters"),
        ("unix://run/redis.sock", "no absolute path"),
        ("unix:///", "no absolute path"),
    ],
)
def test_what_is_wrong_is_said_with_a_mend(url, why):
    with pytest.raises(ValueError, match=why):
        parse(url)


@given(st.text())
def test_any_other_text_is_a_value_error(text):
    with contextlib.suppress(ValueError):
        parse(text)


def test_a_password_is_shown_nowhere():
    address = parse("redis://me:sesame@h:1/2")
    assert "sesame" not in f"{address} {address!r}"
    with pytest.raises(ValueError) as caught:  # noqa: PT011  # its text is what is looked at
        parse("redis://me:sesame@h:1/two")
    assert "sesame" not in str(caught.value)
