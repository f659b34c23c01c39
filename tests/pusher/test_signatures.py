"""wsgate.pusher.signatures: the vectors of Pusher's documentation, and near misses."""

import hashlib

import pytest

from wsgate.pusher.app import App
from wsgate.pusher.signatures import (
    body_is,
    request_is_signed,
    request_signature,
    signature,
    subscription_is_signed,
    user_is_signed,
)

KEY = "278d425bdf160c739803"
APP = App(id="3", key=KEY, secret=b"7ad3773142a6692b25b8")
SID = "1234.1234"


@pytest.mark.parametrize(
    ("channel", "data", "expected"),
    [
        (
            "private-foobar",
            None,
            "58df8b0c36d6982b82c3ecf6b4662e34fe8c25bba48f5369f135bf843651c3a4",
        ),
        (
            "presence-foobar",
            '{"user_id":10,"user_info":{"name":"Mr. Channels"}}',
            "31935e7d86dba64c2a90aed31fdc61869f9b22ba9d8863bba239c03ca481bc80",
        ),
    ],
)
def test_a_subscription_is_signed_as_in_the_documentation(channel, data, expected):
    assert subscription_is_signed(APP, SID, channel, data, f"{KEY}:{expected}")
    for wrong in (
        f"{KEY}:{expected[:-1]}f",
        f"{KEY}:{expected.upper()}",
        f"other:{expected}",
        expected,
        "",
        f"{KEY}:",
        f"{KEY}:\udc80",
    ):
        assert not subscription_is_signed(APP, SID, channel, data, wrong)
    good = f"{KEY}:{expected}"
    assert not subscription_is_signed(APP, "1234.1235", channel, data, good)
    assert not subscription_is_signed(APP, SID, channel + "x", data, good)
    assert not subscription_is_signed(APP, SID, channel, (data or "") + " ", good)


def test_a_private_subscription_with_data_is_signed_over_the_data_too():
    signed = signature(APP.secret, b"1234.1234:private-foobar:{}")
    assert subscription_is_signed(APP, SID, "private-foobar", "{}", f"{KEY}:{signed}")
    assert not subscription_is_signed(APP, SID, "private-foobar", None, f"{KEY}:{signed}")


def test_a_user_is_signed_as_in_the_documentation():
    auth = f"{KEY}:4708d583dada6a56435fb8bc611c77c359a31eebde13337c16ab43aa6de336ba"
    assert user_is_signed(APP, SID, '{"id":"12345"}', auth)
    assert not user_is_signed(APP, SID, '{"id":"12346"}', auth)
    assert not user_is_signed(APP, "1.2", '{"id":"12345"}', auth)


REQUEST = {
    "auth_key": KEY,
    "auth_timestamp": "1353088179",
    "auth_version": "1.0",
    "body_md5": "ec365a775a4cd0599faeb73354201b6f",
}
SIGNED = "da454824c97ba181a32ccc17a72625ba02771f50b50e1e7430e47a1f3f457e6c"
BODY = b'{"name":"foo","channels":["project-3"],"data":"{\\"some\\":\\"data\\"}"}'


def test_a_request_is_signed_as_in_the_documentation():
    assert request_signature(APP.secret, "POST", "/apps/3/events", REQUEST.items()) == SIGNED
    good = {**REQUEST, "auth_signature": SIGNED}
    assert request_is_signed(APP, "POST", "/apps/3/events", good)
    assert not request_is_signed(APP, "GET", "/apps/3/events", good)
    assert not request_is_signed(APP, "POST", "/apps/4/events", good)
    assert not request_is_signed(APP, "POST", "/apps/3/events", {**good, "info": "x"})
    assert not request_is_signed(APP, "POST", "/apps/3/events", REQUEST)


def test_names_of_the_query_are_sorted_and_in_lower_case():
    pairs = [("B", "2"), ("a", "1")]
    expected = signature(b"s", b"GET\n/apps/3/channels\na=1&b=2")
    assert request_signature(b"s", "GET", "/apps/3/channels", pairs) == expected


def test_the_body_is_told_by_its_md5():
    assert body_is(BODY, REQUEST["body_md5"])
    assert not body_is(BODY + b" ", REQUEST["body_md5"])
    assert not body_is(BODY, "")
    assert body_is(b"", hashlib.md5(b"").hexdigest())


def test_the_secret_is_not_shown_with_the_app():
    assert "7ad37731" not in repr(APP)
