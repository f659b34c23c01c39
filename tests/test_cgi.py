"""wsgate.cgi: requests as variables, output as responses."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsgate import __version__
from wsgate.cgi import (
    MAX_HEADER_BYTES,
    Address,
    Client,
    MalformedResponse,
    Script,
    connection_params,
    header_params,
    is_binary_type,
    parse_response,
    script_params,
    server_name,
)
from wsgate.http1 import RequestHead

SCRIPT = Script("/srv/app/public/ws.php", "/ws.php", "/srv/app/public")
CLIENT = Client(Address("192.0.2.7", "50000"), Address("192.0.2.1", "443"), True)


def request(*headers: tuple[bytes, bytes], target: bytes = b"/chat?a=1&b=%20") -> RequestHead:
    return RequestHead(b"GET", target, b"HTTP/1.1", ((b"host", b"Example.com:443"), *headers))


def test_the_variables_are_those_of_the_contract():
    params = script_params(SCRIPT) + connection_params(request((b"cookie", b"a=b")), CLIENT)
    assert dict(params) == {
        b"SCRIPT_FILENAME": b"/srv/app/public/ws.php",
        b"SCRIPT_NAME": b"/ws.php",
        b"DOCUMENT_ROOT": b"/srv/app/public",
        b"DOCUMENT_URI": b"/ws.php",
        b"REQUEST_URI": b"/chat?a=1&b=%20",
        b"QUERY_STRING": b"a=1&b=%20",
        b"SERVER_PROTOCOL": b"HTTP/1.1",
        b"REQUEST_SCHEME": b"https",
        b"HTTPS": b"on",
        b"GATEWAY_INTERFACE": b"CGI/1.1",
        b"SERVER_SOFTWARE": b"wsgate/" + __version__.encode(),
        b"REMOTE_ADDR": b"192.0.2.7",
        b"REMOTE_PORT": b"50000",
        b"SERVER_ADDR": b"192.0.2.1",
        b"SERVER_PORT": b"443",
        b"SERVER_NAME": b"example.com",
        b"REDIRECT_STATUS": b"200",
        b"HTTP_HOST": b"Example.com:443",
        b"HTTP_COOKIE": b"a=b",
    }


def test_https_is_absent_without_tls():
    params = dict(connection_params(request(), CLIENT._replace(secure=False)))
    assert b"HTTPS" not in params
    assert params[b"REQUEST_SCHEME"] == b"http"


@pytest.mark.parametrize(
    ("host", "name"),
    [
        (b"example.com", b"example.com"),
        (b"[::1]:8080", b"[::1]"),
        (b"a b", b""),
        (b"a/b:80", b""),
        (b"", b""),
    ],
)
def test_the_server_name_is_the_host_without_port_or_nothing(host, name):
    assert server_name(RequestHead(b"GET", b"/", b"HTTP/1.1", ((b"host", host),))) == name


def test_duplicates_are_joined_as_nginx_does():
    headers = [(b"x-a", b"1"), (b"cookie", b"a=1"), (b"x-a", b"2"), (b"cookie", b"b=2")]
    assert header_params(headers) == [(b"HTTP_X_A", b"1, 2"), (b"HTTP_COOKIE", b"a=1; b=2")]


@pytest.mark.parametrize(
    "name", [b"proxy", b"accept-encoding", b"x_forwarded_for", b"php_value", b"a.b", b"a!b"]
)
def test_names_that_mislead_php_are_left_out(name):
    assert header_params([(name, b"evil")]) == []


SAFE_NAME = st.text("abcdefghijklmnopqrstuvwxyz0123456789-_!#$%&'*+.^`|~", min_size=1)
OWN = {name for name, _ in script_params(SCRIPT) + connection_params(request(), CLIENT)}
OWN -= {b"HTTP_HOST"}


@given(st.lists(st.tuples(SAFE_NAME.map(str.encode), st.binary()), max_size=20))
def test_no_client_header_sets_a_variable_other_than_its_own(headers):
    params = header_params(headers)
    names = [name for name, _ in params]
    assert all(name.startswith(b"HTTP_") for name in names)
    assert len(names) == len(set(names))
    assert not OWN & set(names)
    assert b"HTTP_PROXY" not in names


@pytest.mark.parametrize("first", [b"\n", b"\r\n"])
@pytest.mark.parametrize("second", [b"\n", b"\r\n"])
def test_all_four_line_ends_end_a_header(first, second):
    response = parse_response(b"Status: 201 Created" + first + b"X: y" + first + second + b"body")
    assert response.head.status == 201
    assert response.head.headers == (("status", "201 Created"), ("x", "y"))
    assert response.body == b"body"


def test_the_header_ends_at_the_first_empty_line_only():
    assert parse_response(b"A: b\n\n\r\n\r\nC: d\n\n").body == b"\r\n\r\nC: d\n\n"


@pytest.mark.parametrize(
    ("header", "status"),
    [(b"A: b", 200), (b"Location: /x", 302), (b"Status: 404", 404), (b"Status: 599 X", 599)],
)
def test_the_status_defaults_to_200_or_302_with_a_location(header, status):
    assert parse_response(header + b"\n\n").head.status == status


@pytest.mark.parametrize(
    "output",
    [
        b"",
        b"body only",
        b"A: b\n",
        b"\n\nbody",
        b"A: b\n folded\n\n",
        b"A b\n\n",
        b"A : b\n\n",
        b"Status: abc\n\n",
        b"Status: 99\n\n",
        b"Status: 100 Continue\n\n",
        b"Status: 600\n\n",
        b"Status: 2000\n\n",
        b"Status: 200\nStatus: 500\n\n",
        b"Content-Length: -1\n\n",
        b"Content-Length: 3\n\nab",
        b"Content-Length: 1\n\nab",
        b"A: \x00\n\n",
    ],
)
def test_what_is_no_cgi_response_is_malformed(output):
    with pytest.raises(MalformedResponse):
        parse_response(output)


def test_a_header_of_the_limit_passes_and_one_byte_more_does_not():
    line = b"A: " + b"x" * (MAX_HEADER_BYTES - 3)
    assert parse_response(line + b"\r\n\r\nb").body == b"b"
    with pytest.raises(MalformedResponse, match="longer than 32768"):
        parse_response(line + b"x\r\n\r\nb")


@given(st.binary(max_size=300))
def test_garbage_raises_nothing_but_malformed_response(garbage):
    try:
        parse_response(garbage)
    except MalformedResponse:
        return


@given(st.binary(max_size=300))
def test_any_body_survives_as_it_is(body):
    assert parse_response(b"Content-Type: text/plain\r\n\r\n" + body).body == body


@pytest.mark.parametrize(
    ("content_type", "binary"),
    [
        (None, False),
        ("", False),
        ("text/html; charset=UTF-8", False),
        ("Text/Plain", False),
        ("application/json", False),
        ("application/problem+json", False),
        ("application/atom+xml", False),
        ("application/xml", False),
        ("application/javascript", False),
        ("application/x-www-form-urlencoded", False),
        ("multipart/form-data; boundary=x", False),
        ("application/octet-stream", True),
        ("image/png", True),
        ("image/svg+xml", True),
        ("audio/ogg", True),
        ("video/mp4", True),
        ("application/pdf", True),
        ("application/x-protobuf", True),
    ],
)
def test_the_content_type_decides_between_text_and_binary(content_type, binary):
    assert is_binary_type(content_type) is binary
