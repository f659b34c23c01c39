"""wsgate.hooks.params: what a hook takes from a client is never what PHP trusts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsgate.hooks.params import check_param, size_of

TRUSTED = [
    "HTTP_PROXY",
    "HTTP_HOST",
    "HTTP_COOKIE",
    "HTTP_X",
    "HTTPS",
    "HTTPS_PROXY",
    "NO_PROXY",
    "ALL_PROXY",
    "FTP_PROXY",
    "PHP_VALUE",
    "PHP_ADMIN_VALUE",
    "PHP_SELF",
    "PHP_AUTH_USER",
    "PHP_AUTH_PW",
    "PHPRC",
    "PHP_INI_SCAN_DIR",
    "SCRIPT_FILENAME",
    "SCRIPT_NAME",
    "SCRIPT_URL",
    "DOCUMENT_ROOT",
    "DOCUMENT_URI",
    "REQUEST_METHOD",
    "REQUEST_URI",
    "REQUEST_SCHEME",
    "QUERY_STRING",
    "CONTENT_TYPE",
    "CONTENT_LENGTH",
    "SERVER_NAME",
    "SERVER_ADDR",
    "SERVER_SOFTWARE",
    "REMOTE_ADDR",
    "REMOTE_PORT",
    "REMOTE_HOST",
    "REMOTE_IDENT",
    "GATEWAY_INTERFACE",
    "REDIRECT_STATUS",
    "PATH",
    "PATH_INFO",
    "PATH_TRANSLATED",
    "ORIG_PATH_INFO",
    "ORIG_SCRIPT_FILENAME",
    "FCGI_ROLE",
    "SSL_CLIENT_VERIFY",
    "SSL_CLIENT_S_DN",
    "TLS_CLIENT_CERT",
    "LD_PRELOAD",
    "LD_LIBRARY_PATH",
    "TMPDIR",
    "HOME",
    "USER",
    "AUTH_PASSWORD",
    "WSGATE_USER",
    "WSGATE_EVENT",
    "WSGATE_CONNECTION_ID",
    "WSGATE_MESSAGE_ID",
    "WSGATE_VAR_ROLE",
    "WSGATE_SUBPROTOCOL",
    "WSGATE_CLAIM_",
    "WSGATE_SESSION_",
    "WSGATE_CLAIM",
    "WSGATE_ATTEMPT",
]


@pytest.mark.parametrize("name", TRUSTED)
def test_names_that_php_or_wsgate_give_a_meaning_are_refused(name):
    with pytest.raises(ValueError, match="that param a meaning"):
        check_param(name, "x")


@pytest.mark.parametrize(
    "name", ["REMOTE_USER", "AUTH_TYPE", "WSGATE_CLAIM_SUB", "WSGATE_SESSION_ID", "APP_ROLE", "A"]
)
def test_others_are_taken(name):
    check_param(name, "any text, ü too")


@pytest.mark.parametrize(
    "name",
    ["", "a", "1A", "_A", "A-B", "A B", "A\n", "A\0", "Ä", "A=B", "A" * 65, "REMOTE_user"],
)
def test_what_is_no_name_is_refused(name):
    with pytest.raises(ValueError, match="no name for a param"):
        check_param(name, "x")


def test_the_longest_name_is_taken():
    check_param("A" * 64, "x")


@pytest.mark.parametrize("value", ["a\r\nb", "a\0", "\x1b[2J", "\x7f", "\x85", "\u2028", "\ud800"])
def test_values_with_control_characters_are_refused(value):
    with pytest.raises(ValueError, match="REMOTE_USER: its value"):
        check_param("REMOTE_USER", value)


@given(st.text(max_size=70), st.text(max_size=20))
def test_no_name_or_value_is_taken_that_could_be_read_in_two_ways(name, value):
    try:
        check_param(name, value)
    except ValueError:
        return
    assert name.isascii()
    assert not name.startswith(("HTTP_", "PHP_", "SCRIPT_"))
    assert not set(value) & {"\0", "\r", "\n"}
    value.encode()


def test_the_size_is_that_of_names_and_values_in_utf_8():
    assert size_of({"A": "ü", "BC": ""}) == 5
