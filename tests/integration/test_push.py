"""Push from PHP and from anywhere else: a real wsgate, real clients, the examples of the page."""

import contextlib
import http.client
import json
import multiprocessing
import shutil
import socket
import subprocess
import threading
import time

import pytest
from websockets.exceptions import ConnectionClosed

from tests.integration.gateway_process import eventually, free_port, gateway
from tests.integration.test_control import UnixConnection, controlled
from tests.integration.test_tls_service import Authority
from tests.pages import blocks, page

TOKEN = "0123456789abcdef"

INTRODUCE = """<?php
if (isset($_GET['user'])) { header('Wsgate-User: ' . $_GET['user']); }
header('Wsgate-Subscribe: lobby');
echo $_SERVER['WSGATE_CONNECTION_ID'];
"""
SCRIPT = {"scripts": {"ws.php": INTRODUCE, "token": f"{TOKEN}\n"}, "script": "ws.php"}


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    authority = Authority(tmp_path_factory.mktemp("authority"))
    authority.issue("localhost", authority.folder / "only")
    return authority


@contextlib.contextmanager
def guest(running, user="42"):
    """A client that is in the lobby, as `user`, and its connection's id."""
    with running.connect(f"/?user={user}", max_queue=None) as client:
        client.send("")
        yield client, client.recv(timeout=20)


def ask(control, method, path, body=None, **headers):
    connection = UnixConnection(control.path)
    try:
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


# -- the page


def examples(language):
    return [text for text in blocks(page("push.md"), language) if "ws.php" not in text]


@pytest.mark.skipif(shutil.which("php") is None, reason="needs PHP's command line (php-cli)")
def test_the_examples_of_the_page_reach_a_client(tmp_path):
    port = free_port()
    tcp = [f"--control=tcp:{port}:interface=127.0.0.1", "--control-token-file={scripts}/token"]
    with controlled(**SCRIPT) as (running, control), gateway(*tcp, **SCRIPT) as other:
        places = {
            "/run/wsgate/control.sock": control.path,
            "/etc/wsgate/token": other.script("token"),
            "10.0.0.5:9100": f"127.0.0.1:{port}",
        }
        php = [["php", made(tmp_path, text, places)] for text in examples("php")]
        shell = [["sh", made(tmp_path, text, places)] for text in examples("sh")]
        assert (len(php), len(shell)) == (3, 1)
        with guest(running) as (client, _), guest(other) as (far, _):
            for command, listener, message in (
                (php[0], client, '{"invoice":7}'),
                (php[1], client, "hello"),
                (php[2], far, "hello"),
                (shell[0], client, "hello"),
            ):
                said = subprocess.run(
                    command, capture_output=True, text=True, timeout=30, check=False
                )
                assert said.stdout.endswith('{"delivered":1}\n'), said
                if command[0] == "php":
                    assert said.stderr == ""
                assert listener.recv(timeout=10) == message


def made(folder, text, places):
    """A file with the example, whose places are those of the test."""
    for place, real in places.items():
        text = text.replace(place, real)
    file = folder / f"{len(list(folder.iterdir()))}"
    file.write_text(text, encoding="utf-8")
    return str(file)


# -- what is promised


def test_a_message_goes_to_a_connection_a_user_and_a_channel():
    with controlled(**SCRIPT) as (running, control):
        with guest(running) as (one, id_of_one), guest(running, "J%C3%A4ne") as (two, _):
            assert ask(control, "POST", f"/connections/{id_of_one}", b"a") == (
                200,
                {"delivered": 1},
            )
            assert one.recv(timeout=10) == "a"
            assert ask(control, "POST", "/users/J%C3%A4ne", b"b") == (200, {"delivered": 1})
            assert two.recv(timeout=10) == "b"
            assert ask(control, "POST", "/channels/lobby", b"c") == (200, {"delivered": 2})
            assert (one.recv(timeout=10), two.recv(timeout=10)) == ("c", "c")
            but = f"/channels/lobby?except={id_of_one}"
            assert ask(control, "POST", but, b"d") == (200, {"delivered": 1})
            assert two.recv(timeout=10) == "d"
            users = {"channel": "lobby", "subscribers": 2, "users": ["42", "Jäne"]}
            assert ask(control, "GET", "/channels/lobby?users=1") == (200, users)
            # The next message's answer comes behind all of it, and nothing more between.
            one.send("")
            assert one.recv(timeout=10) == id_of_one
        pushes = {"connection": 1, "user": 1, "channel": 2}
        control.await_figures({("wsgate_control_pushes_total", to): n for to, n in pushes.items()})


def test_text_is_text_and_binary_is_binary():
    with controlled(**SCRIPT) as (running, control), guest(running) as (client, id):
        path = f"/connections/{id}"
        octets = {"Content-Type": "application/octet-stream"}
        assert ask(control, "POST", path, b"\xff\x00", **octets)[0] == 200
        assert client.recv(timeout=10) == b"\xff\x00"
        assert ask(control, "POST", path, b"\xff\x00")[0] == 400
        assert ask(control, "POST", path, "ä".encode())[0] == 200
        assert client.recv(timeout=10) == "ä"


def test_the_longest_message_arrives_and_a_longer_one_is_413():
    longest = 1024 * 1024
    with controlled(**SCRIPT) as (running, control), guest(running) as (client, id):
        path = f"/connections/{id}"
        assert ask(control, "POST", path, b"x" * longest) == (200, {"delivered": 1})
        assert client.recv(timeout=10) == "x" * longest
        # It is refused before it was sent; who sends it all the same can read why.
        for length in (longest + 1, 5 * longest):
            status, told = ask(control, "POST", path, b"x" * length)
            assert (status, told["error"]["status"]) == (413, 413)


def test_a_close_has_its_code_and_reason_and_then_it_is_gone():
    with controlled(**SCRIPT) as (running, control):
        with guest(running) as (client, id):
            path = f"/connections/{id}"
            assert ask(control, "DELETE", f"{path}?code=4001&reason=bye%20now") == (
                200,
                {"closed": 1},
            )
            with pytest.raises(ConnectionClosed):
                client.recv(timeout=10)
            assert (client.close_code, client.close_reason) == (4001, "bye now")
            gone = eventually(lambda: (a := ask(control, "POST", path, b"x"))[0] == 404 and a, 10)
            assert gone[1]["error"]["reason"] == "no such connection, or it is gone"
        with guest(running) as (client, _):
            assert ask(control, "DELETE", "/users/42?code=4003") == (200, {"closed": 1})
            with pytest.raises(ConnectionClosed):
                client.recv(timeout=10)
            assert client.close_code == 4003


@pytest.mark.parametrize("politely", [True, False])
def test_a_client_that_leaves_is_counted_until_it_is_gone_and_never_after(politely):
    with controlled(**SCRIPT) as (running, control):
        for _ in range(10):
            with guest(running) as (client, id):
                connection = UnixConnection(control.path)
                statuses = []
                while 404 not in statuses[-2:-1]:
                    connection.request("POST", f"/connections/{id}", b"x")
                    answer = connection.getresponse()
                    answer.read()
                    statuses.append(answer.status)
                    if len(statuses) == 5:
                        leave(client, politely)
                connection.close()
                delivered = statuses.index(404)
                assert statuses == [200] * delivered + [404, 404]
                assert delivered >= 5
        assert "Traceback" not in running.log()


def leave(client, politely):
    """Go, without waiting to hear of it."""
    if politely:
        threading.Thread(target=client.close, daemon=True).start()
    else:
        client.socket.shutdown(socket.SHUT_RDWR)


def test_a_subscription_begins_and_ends_from_outside():
    with controlled(**SCRIPT) as (running, control), guest(running) as (client, id):
        path = f"/connections/{id}/channels/a%3Ab"
        for _ in range(2):
            assert ask(control, "PUT", path) == (200, {"channel": "a:b", "subscribed": True})
        assert ask(control, "POST", "/channels/a%3Ab", b"x") == (200, {"delivered": 1})
        assert client.recv(timeout=10) == "x"
        assert ask(control, "DELETE", path) == (200, {"channel": "a:b", "subscribed": False})
        assert ask(control, "POST", "/channels/a:b", b"x") == (200, {"delivered": 0})
        status, told = ask(control, "GET", f"/connections/{id}")
        assert status == 200
        assert (told["id"], told["user"], told["channels"]) == (id, "42", ["lobby"])
        assert abs(told["connected_at"] - time.time()) < 60


def test_over_tls_with_the_token(authority):
    port = free_port()
    options = [
        f"--control=tls:{authority.folder}/only:port={port}:interface=127.0.0.1",
        "--control-token-file={scripts}/token",
    ]

    def send(path, body, **headers):
        connection = http.client.HTTPSConnection("localhost", port, context=authority.context())
        try:
            connection.request("POST", path, body, headers)
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())
        finally:
            connection.close()

    with gateway(*options, **SCRIPT) as running, guest(running) as (client, _):
        bearer = {"Authorization": f"Bearer {TOKEN}"}
        assert send("/users/42", b"x" * 100_000, **bearer) == (200, {"delivered": 1})
        assert client.recv(timeout=10) == "x" * 100_000
        for _ in range(5):
            assert send("/users/42", b"x")[0] == 401
            assert send("/users/42", b"x" * (1024 * 1024 + 1), **bearer)[0] == 413
        with socket.create_connection(("127.0.0.1", port), 10) as plain:
            plain.sendall(b"GET /healthz HTTP/1.1\r\n\r\n")
            assert not plain.recv(65536).startswith(b"HTTP/1.1 200")


# -- floods


def push_on(path, target, seconds, kept, done):
    """Push as fast as it goes, from a process of its own."""
    body = b'{"hello":"world"}'
    request = b"POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n%s\r\n%s" % (
        *(target.encode(), len(body)),
        *(b"" if kept else b"Connection: close\r\n", body),
    )
    until = time.monotonic() + seconds
    answered = 0
    one = None
    while time.monotonic() < until:
        if one is None or not kept:
            one = socket.socket(socket.AF_UNIX)
            one.connect(path)
        one.sendall(request)
        answered += one.recv(65536).startswith(b"HTTP/1.1 200")
        if not kept:
            while one.recv(65536):
                pass
            one.close()
    done.put(answered)


@pytest.mark.slow
@pytest.mark.parametrize("kept", [True, False], ids=["kept", "new"])
def test_a_flood_of_pushes_does_not_starve_clients(kept, record_property):
    seconds = 4.0
    with (
        controlled(**SCRIPT) as (running, control),
        guest(running) as (target, id),
        guest(running) as (client, _),
    ):
        done = multiprocessing.Queue()
        crowd = [
            multiprocessing.Process(
                target=push_on, args=(control.path, f"/connections/{id}", seconds, kept, done)
            )
            for _ in range(8)
        ]
        for process in crowd:
            process.start()
        took = []
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            began = time.monotonic()
            client.send("")
            client.recv(timeout=10)
            took.append(time.monotonic() - began)
            time.sleep(0.01)
        pushed = sum(done.get(timeout=30) for _ in crowd)
        for process in crowd:
            process.join()
        took.sort()
        record_property("median_ms", round(took[len(took) // 2] * 1000, 1))
        record_property("pushes_per_second", round(pushed / seconds))
        # The machine is shared with the flood itself, so this is generous.
        assert took[len(took) // 2] < 0.25
        # None of those that were answered is lost.
        for _ in range(pushed):
            assert target.recv(timeout=10) == '{"hello":"world"}'
