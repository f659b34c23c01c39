"""PHP sees through wsgate what it would see through a real nginx; a client can forge nothing."""

import base64
import http.client
import json
import re
import socket

import pytest

from tests.integration.gateway_process import gateway
from tests.integration.nginx import nginx, nginx_version
from tests.integration.php_fpm import php_fpm
from tests.integration.raw_client import RawClient

# Values are compared as bytes, so they go through base64.
DUMP = """<?php
$server = [];
foreach ($_SERVER as $name => $value)
    if (is_string($value)) $server[$name] = base64_encode($value);
header('Content-Type: application/json');
echo json_encode(['server' => $server, 'input' => base64_encode(file_get_contents('php://input')),
    'cookie' => $_COOKIE, 'get' => $_GET, 'ini' => ini_get('precision'),
    'prepend' => ini_get('auto_prepend_file'), 'file' => __FILE__]);
"""

# The names of contract §2, beside HTTP_* and WSGATE_*.
CONTRACT = {
    *("SCRIPT_FILENAME", "SCRIPT_NAME", "DOCUMENT_ROOT", "DOCUMENT_URI", "REQUEST_URI"),
    *("QUERY_STRING", "REQUEST_METHOD", "CONTENT_TYPE", "CONTENT_LENGTH", "SERVER_PROTOCOL"),
    *("REQUEST_SCHEME", "GATEWAY_INTERFACE", "SERVER_SOFTWARE", "REMOTE_ADDR", "REMOTE_PORT"),
    *("SERVER_ADDR", "SERVER_PORT", "SERVER_NAME", "REDIRECT_STATUS"),
}

# Every name that differs from nginx, and why. Everything else must be equal to the byte.
DIFFERENT = {
    "REQUEST_METHOD": "a message is a POST; nginx got the GET of the handshake",
    "CONTENT_TYPE": "of the message; a GET has none",
    "CONTENT_LENGTH": "of the message; a GET has none",
    "SERVER_SOFTWARE": "says which server it is",
    "SERVER_PORT": "each server has its own port",
    "REMOTE_PORT": "each connection has its own port",
    "REMOTE_USER": "nginx sends it empty; wsgate does no HTTP authentication and leaves it out",
    "HTTP_HOST": "Debian's fastcgi_params cut the port off; upstream nginx passes it, as wsgate",
    # PHP's own, not params.
    "REQUEST_TIME": "PHP's clock",
    "REQUEST_TIME_FLOAT": "PHP's clock",
}

HANDSHAKE = (
    b"Cookie: a=1; b=2",
    b"User-Agent: test/1",
    b"Accept-Language: de, en;q=0.5",
    b"X-Forwarded-For: 192.0.2.7",
    b"Authorization: Bearer abc",
    b"X-Odd: latin \xe9 utf8 \xc3\xa9",
    b"X-Empty:",
    b"X-Spaces:   inner  kept   ",
)

TARGETS = [
    "/",
    "/chat",
    "/chat?",
    "/chat?a=1&b[]=2&c=%20+%2B",
    "/a/b.php/c?x=/../y",
    "/%41%2e/%C3%A4?%00=%ff",
    "/deep//double?a?b=c",
    "/semi;colon=1?q=';--",
]


@pytest.fixture(scope="module")
def servers():
    """Ports of wsgate and nginx before the same php-fpm and script; and the script's path."""
    with php_fpm(scripts={"dump.php": DUMP}) as fpm:
        script = fpm.script_path("dump.php")
        with (
            gateway(
                f"--fastcgi={fpm.endpoint}",
                f"--script={script}",
                # Each test is a connection, or several.
                "--set=limits.new_connections_per_address=0",
                script=None,
            ) as running,
            nginx(f"unix:{fpm.socket}", script, str(fpm.scripts)) as nginx_port,
        ):
            yield running, nginx_port, script


def decode(answer):
    got = json.loads(answer)
    got["server"] = {name: base64.b64decode(value) for name, value in got["server"].items()}
    got["input"] = base64.b64decode(got["input"])
    return got


def through_wsgate(port, target, extra=(), message=b"text"):
    with RawClient(port, target, extra=tuple(extra)) as client:
        client.send_message(message)
        return decode(client.receive_message())


def through_nginx(port, target, extra=()):
    """As the handshake of RawClient, sent to nginx as the plain GET that it also is."""
    lines = [
        b"GET " + target.encode() + b" HTTP/1.1",
        b"Host: localhost:%d" % port,
        b"Upgrade: websocket",
        b"Connection: Upgrade",
        b"Sec-WebSocket-Version: 13",
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        *extra,
    ]
    with socket.create_connection(("127.0.0.1", port), 10) as connection:
        connection.sendall(b"\r\n".join(lines) + b"\r\n\r\n")
        answer = http.client.HTTPResponse(connection)
        answer.begin()
        body = answer.read()
        assert answer.status == 200, body
        return decode(body)


def params_of(got):
    """What came as params; PHP adds PHP_SELF and such, and PHP-FPM its environment."""
    own = {"PHP_SELF", "FCGI_ROLE", "argv", "argc", "USER", "HOME", "PATH"}
    return {name: value for name, value in got["server"].items() if name not in own}


@pytest.mark.parametrize("target", TARGETS)
def test_every_param_is_as_from_nginx(servers, target):
    running, nginx_port, script = servers
    ours = through_wsgate(running.port, target, HANDSHAKE)
    theirs = through_nginx(nginx_port, target, HANDSHAKE)
    our_params, their_params = params_of(ours), params_of(theirs)
    assert set(our_params) >= CONTRACT
    names = {name for name in our_params | their_params if not name.startswith("WSGATE_")}
    wrong = {
        name: (our_params.get(name), their_params.get(name))
        for name in names - set(DIFFERENT)
        if our_params.get(name) != their_params.get(name)
    }
    assert not wrong, "name: (wsgate, nginx)"
    assert ours["get"] == theirs["get"]
    assert ours["cookie"] == theirs["cookie"]
    assert ours["file"] == script


def test_the_params_that_differ_are_right(servers):
    running, _, _ = servers
    got = through_wsgate(running.port, "/x", HANDSHAKE)["server"]
    assert got["REQUEST_METHOD"] == b"POST"
    assert got["CONTENT_TYPE"] == b"application/x-www-form-urlencoded"
    assert got["CONTENT_LENGTH"] == b"4"
    assert re.fullmatch(rb"wsgate/\d+\.\d+.*", got["SERVER_SOFTWARE"])
    assert got["SERVER_PORT"] == b"%d" % running.port
    assert got["REMOTE_PORT"].isdigit()
    assert got["HTTP_HOST"] == b"localhost:%d" % running.port
    assert "HTTPS" not in got
    assert "REMOTE_USER" not in got
    ours = {name for name in got if name.startswith("WSGATE_")}
    assert ours == {f"WSGATE_{n}" for n in ("EVENT", "CONNECTION_ID", "MESSAGE_ID", "OPCODE")}


def test_duplicate_headers_are_joined_as_nginx_does(servers):
    running, nginx_port, _ = servers
    extra = [b"X-Two: a", b"X-Two: b", b"Accept: x/y", b"Accept: z/w", b"Cookie: a=1"]
    extra += [b"Cookie: b=2", b"X-Forwarded-For: 192.0.2.1", b"X-Forwarded-For: 192.0.2.2"]
    joined = {
        "HTTP_COOKIE": b"a=1; b=2",
        "HTTP_X_TWO": b"a, b",
        "HTTP_ACCEPT": b"x/y, z/w",
        "HTTP_X_FORWARDED_FOR": b"192.0.2.1, 192.0.2.2",
    }
    ours = params_of(through_wsgate(running.port, "/", extra))
    assert {name: ours[name] for name in joined} == joined
    # Before 1.23 nginx sent such a param twice, and PHP took the last one.
    if nginx_version() >= (1, 23):
        theirs = params_of(through_nginx(nginx_port, "/", extra))
        assert {name: theirs[name] for name in joined} == joined


HOSTILE = [
    b"Proxy: http://evil",
    b"pRoXy: http://evil",
    b"X_Forwarded_For: evil",
    b"Php-Value: precision=3",
    b"PHP_VALUE: precision=3",
    b"Php-Admin-Value: auto_prepend_file=/etc/passwd",
    b"PHP_ADMIN_VALUE: auto_prepend_file=/etc/passwd",
    b"Script-Filename: /etc/passwd",
    b"SCRIPT_FILENAME: /etc/passwd",
    b"Request-Body-File: /etc/passwd",
    b"REQUEST_BODY_FILE: /etc/passwd",
    b"Content-Length: 0",
    b"Content-Type: evil",
    b"Wsgate-Connection-Id: evil",
    b"WSGATE_CONNECTION_ID: evil",
    b"Wsgate-Message-Id: evil",
    b"Https: on",
    b"Remote-Addr: 192.0.2.66",
    b"Redirect-Status: evil",
    b"Document-Root: /evil",
    b"Path-Info: /evil",
    b"Path-Translated: /evil",
    b"Auth-Type: evil",
    b"Remote-User: evil",
    b"Http-Proxy: evil",
    b"Unique: evil",
]


# Values that two requests never share.
VARYING = {"REMOTE_PORT", "WSGATE_CONNECTION_ID", "WSGATE_MESSAGE_ID"}
VARYING |= {"REQUEST_TIME", "REQUEST_TIME_FLOAT"}


def assert_forges_nothing(running, extra):
    plain = through_wsgate(running.port, "/")
    hostile = through_wsgate(running.port, "/", extra)
    added = {
        name: value
        for name, value in hostile["server"].items()
        if name not in VARYING and plain["server"].get(name) != value
    }
    assert all(name.startswith("HTTP_") for name in added), added
    assert "HTTP_PROXY" not in added
    assert "HTTP_X_FORWARDED_FOR" not in added
    for key in ("input", "ini", "prepend", "file", "cookie"):
        assert hostile[key] == plain[key], key
    return added


@pytest.mark.parametrize("line", HOSTILE, ids=lambda line: line.partition(b":")[0].decode())
def test_no_header_changes_script_body_settings_or_a_param_of_ours(servers, line):
    running, _, _ = servers
    assert_forges_nothing(running, [line])


@pytest.mark.parametrize("byte", [0x80, 0x85, 0xA0, 0xAD, 0xFF], ids=hex)
def test_a_byte_that_unicode_takes_for_a_line_end_is_a_byte(servers, byte):
    running, _, _ = servers
    value = b"a%cX-Forged: 1" % byte
    added = assert_forges_nothing(running, [b"X-Odd: " + value])
    assert added == {"HTTP_X_ODD": value}


@pytest.mark.parametrize(
    "line",
    [b"X-Odd: a%cX-Forged: 1" % byte for byte in [0, 1, 8, *range(10, 14), *range(28, 32), 127]]
    + [b"X-Odd : 1", b" X-Odd: 1", b"X-\xe9: 1", b": 1", b"X-Odd", b"X Odd: 1", b"X-Odd\x85: 1"],
)
def test_what_is_no_header_line_is_refused(servers, line):
    running, _, _ = servers
    RawClient(running.port, "/", extra=(line,), status=400).socket.close()


@pytest.mark.parametrize(
    ("line", "status"),
    [
        (b"Host: other", 400),
        (b"Content-Length: 5", 400),
        (b"Transfer-Encoding: chunked", 400),
        (b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", 400),
        (b"X-Long: " + b"x" * 17000, 431),
    ],
)
def test_what_two_servers_could_read_differently_is_refused(servers, line, status):
    running, _, _ = servers
    RawClient(running.port, "/", extra=(line,), status=status).socket.close()


@pytest.mark.parametrize(
    "target", [b"http://evil/x", b"*", b"evil", b"/a#b", b"/a\x7f", b"/a b", b"/%00", b"/%0d%0aX"]
)
def test_a_target_that_is_no_path_is_refused(servers, target):
    running, _, _ = servers
    RawClient(running.port, target, status=400).socket.close()


@pytest.mark.parametrize("target", [b"/../../etc/passwd", b"/etc/passwd", b"/dump.php/../x.php"])
def test_the_url_never_chooses_the_script(servers, target):
    running, _, script = servers
    got = through_wsgate(running.port, target.decode())
    assert got["file"] == script
    assert got["server"]["SCRIPT_FILENAME"] == script.encode()
    assert got["server"]["REQUEST_URI"] == target
    assert "PATH_INFO" not in got["server"]


def test_the_host_header_is_the_server_name_only_if_it_is_one(servers):
    running, _, _ = servers
    for host in (b"a/b", b"a b", b"a\x85b", b"", b"a:b", b"<x>", b"a:1:2", b"[::1", b"a,b"):
        with socket.create_connection(("127.0.0.1", running.port), 10) as connection:
            connection.sendall(b"GET / HTTP/1.1\r\nHost: " + host + b"\r\n\r\n")
            assert connection.recv(100).startswith(b"HTTP/1.1 400 "), host
