"""Behind proxies: the client's address and scheme, with the real process and a real nginx."""

import contextlib
import json
import socket
import ssl

import pytest

from tests.integration.gateway_process import eventually, gateway
from tests.integration.nginx import nginx_with
from tests.integration.websocket_client import connect

SEEN = """<?php
header('Content-Type: application/json');
echo json_encode($_SERVER);
"""


def seen(*options, **more):
    return gateway(*options, script="seen.php", scripts={"seen.php": SEEN}, **more)


def asked(url, **options):
    with connect(url, **options) as client:
        client.send("x")
        return json.loads(client.recv(timeout=20))


@contextlib.contextmanager
def front(port):
    """The port of an nginx in front of wsgate, as docs/deployment.md has it."""
    server = f"""
        location / {{
            proxy_pass http://127.0.0.1:{port};
            proxy_http_version 1.1;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection "upgrade";
            proxy_set_header Host $http_host;
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
            proxy_set_header X-Forwarded-Proto https;
        }}
    """
    with nginx_with(server) as own:
        yield own


def test_behind_nginx_php_sees_the_client_and_its_scheme():
    # The client is 127.0.0.2; what it claims itself is to the left of that.
    with seen("--set=gateway.trusted_proxies=127.0.0.1") as running, front(running.port) as port:
        got = asked(
            f"ws://127.0.0.1:{port}/",
            source_address=("127.0.0.2", 0),
            additional_headers={"X-Forwarded-For": "198.51.100.66", "X-Forwarded-Proto": "ftp"},
            origin=f"https://127.0.0.1:{port}",
        )
        assert got["REMOTE_ADDR"] == "127.0.0.2"
        assert got["REMOTE_PORT"] == ""
        assert got["HTTPS"] == "on"
        assert got["REQUEST_SCHEME"] == "https"
        assert got["SERVER_PORT"] == str(port)
        assert got["HTTP_X_FORWARDED_FOR"] == "198.51.100.66, 127.0.0.2"
        assert got["HTTP_X_FORWARDED_PROTO"] == "https"


@pytest.mark.parametrize("option", [(), ("--set=gateway.trusted_proxies=10.0.0.0/8",)])
def test_nobody_is_believed_who_is_not_listed(option):
    with seen(*option) as running:
        headers = {"X-Forwarded-For": "198.51.100.66", "X-Forwarded-Proto": "https"}
        got = asked(running.url, additional_headers=headers)
        assert got["REMOTE_ADDR"] == "127.0.0.1"
        assert "HTTPS" not in got


def test_a_refused_handshake_is_logged_with_the_real_client():
    with seen("--set=gateway.trusted_proxies=127.0.0.1") as running:
        with socket.create_connection(("127.0.0.1", running.port), 10) as plain:
            plain.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 192.0.2.77\r\n\r\n")
            assert plain.recv(100).startswith(b"HTTP/1.1 426")
        eventually(lambda: "426 to 192.0.2.77" in running.log(), 5, "the line is there")


def test_a_haproxy_port_closes_the_connection_of_a_proxy_that_is_not_listed():
    with seen(
        "--set=gateway.trusted_proxies=10.0.0.0/8", port="haproxy:tcp:{port}:interface=127.0.0.1"
    ) as running:
        with socket.create_connection(("127.0.0.1", running.port), 10) as plain:
            with contextlib.suppress(ConnectionError):
                plain.sendall(b"PROXY TCP4 192.0.2.7 127.0.0.1 5555 80\r\n")
            with contextlib.suppress(ConnectionResetError):
                assert plain.recv(100) == b""
        line = "127.0.0.1 is not in gateway.trusted_proxies"
        eventually(lambda: line in running.log(), 5, "the line is there")
        assert "Traceback" not in running.log()


def test_the_proxy_header_comes_first_and_then_tls():
    with seen("--self-signed", port="haproxy:tls:{port}:interface=127.0.0.1") as running:
        plain = socket.create_connection(("127.0.0.1", running.port), 10)
        plain.sendall(b"PROXY TCP6 2001:db8::7 2001:db8::1 5555 8443\r\n")
        context = ssl._create_unverified_context()
        got = asked(f"wss://127.0.0.1:{running.port}/", sock=plain, ssl=context)
        assert (got["REMOTE_ADDR"], got["REMOTE_PORT"]) == ("2001:db8::7", "5555")
        assert (got["SERVER_ADDR"], got["SERVER_PORT"]) == ("2001:db8::1", "8443")
        assert got["HTTPS"] == "on"


def test_an_endless_or_slow_proxy_header_ends_with_the_handshake_s_timeout():
    with seen(
        "--set=limits.handshake_timeout=500ms", port="haproxy:tcp:{port}:interface=127.0.0.1"
    ) as running:
        for begun in (b"PROXY TCP4 192", b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x10\0" + b"x" * 4000, b""):
            with socket.create_connection(("127.0.0.1", running.port), 10) as plain:
                plain.sendall(begun)
                with contextlib.suppress(ConnectionResetError):
                    while plain.recv(1000):
                        pass
        assert "Traceback" not in running.log()
