"""The dialect GRIP through the whole service: a real PHP, and publishers' own libraries."""

import base64
import contextlib
import json
import os
import socket
import subprocess
import urllib.error
import urllib.request

import jwt
import pytest
from gripcontrol import GripPubControl, WebSocketMessageFormat, decode_websocket_events
from gripcontrol.gripcontrol import validate_sig
from pubcontrol import Item
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.integration.gateway_process import Gateway, eventually, free_port, gateway
from tests.integration.grip_scripts import PLAIN, PUBLISH_WITH_LIBRARY, WITH_LIBRARY
from tests.integration.redis_server import redis_server
from tests.integration.test_reloading import File
from tests.integration.test_workers import ready as ready_with
from tests.pages import blocks, page
from wsgate.grip.events import decode_events, encode_events

KEY = "a-key-that-is-long-enough-to-be-taken"
TOKEN = "0123456789abcdef0123456789abcdef"
AUTOLOAD = os.environ.get("WSGATE_PHP_GRIP_AUTOLOAD", "")

NEWS = {"content": "news"}

CONFIG = """
[gateway]
control_token_file = "token"
[limits]
new_connections_per_address = 0
[pools.default]
max_in_flight = 2
[[route]]
path = "/chat"
script = "chat.php"
dialect = "grip"
grip_key_file = "key"
[[route]]
path = "/other"
script = "chat.php"
dialect = "grip"
grip_key_file = "other-key"
grip_prefix = "other-"
on_error = "close"
"""


@contextlib.contextmanager
def grip(chat=PLAIN, *options, config=CONFIG, ready=Gateway.accepts):
    """A gateway with the chat at /chat, and its control interface."""
    control = free_port()
    scripts = {
        "chat.php": chat,
        "key": KEY,
        "other-key": "base64:" + base64.b64encode(bytes(range(32))).decode(),
        "token": TOKEN,
        "wsgate.toml": config,
    }
    with gateway(
        "--config={scripts}/wsgate.toml",
        f"--control=tcp:{control}:interface=127.0.0.1",
        *options,
        scripts=scripts,
        script=None,
        ready=ready,
    ) as running:
        running.control = f"http://127.0.0.1:{control}"
        yield running


@pytest.fixture(scope="module")
def served():
    with grip() as running:
        yield running


def requests_of(running, room):
    """What PHP was asked for the connections of one room, each with its events decoded."""
    lines = (running.place.scripts / "requests").read_text().splitlines()
    found = [json.loads(line) for line in lines]
    ids = {
        request["server"]["HTTP_CONNECTION_ID"]
        for request in found
        if request["server"].get("HTTP_X_ROOM") == room
    }
    return [
        [(name, base64.b64decode(content)) for name, content in request["events"]]
        for request in found
        if request["server"]["HTTP_CONNECTION_ID"] in ids
    ]


@contextlib.contextmanager
def enter(running, room, path="/chat"):
    """A client that was greeted."""
    headers = {"X-Room": room}
    with running.connect(f"{path}?room={room}", additional_headers=headers) as client:
        assert client.recv(timeout=10) == f"welcome to {room}"
        yield client


def publish(running, room, what, key=KEY, headers=()):
    body = json.dumps({"items": [{"channel": room, "formats": {"ws-message": what}}]}).encode()
    signed = jwt.encode({"iss": "app", "exp": 2**33}, key, "HS256")
    request = urllib.request.Request(
        f"{running.control}/publish/",
        body,
        {"Authorization": f"Bearer {signed}", "Content-Type": "application/json", **dict(headers)},
    )
    with urllib.request.urlopen(request, timeout=10) as response:
        return response.read(), dict(response.headers)


def test_a_chat_from_its_opening_to_its_end(served):
    with enter(served, "life") as client:
        assert client.response.headers["Set-Cookie"] == "seen=1"
        assert "Sec-WebSocket-Extensions" not in client.response.headers
        client.send("hello")
        assert client.recv(timeout=10) == "1 hello"
        client.send(b"\x00\xff")
        assert client.recv(timeout=10) == b"\x00\xff"
        client.close(4000, "enough")
    ends = eventually(
        lambda: len(found := requests_of(served, "life")) == 4 and found,
        10,
        "the CLOSE",
    )
    assert [events[0][0] for events in ends] == ["OPEN", "TEXT", "BINARY", "CLOSE"]
    assert ends[3] == [("CLOSE", b"\x0f\xa0enough")]


def test_a_connection_that_is_cut_off_is_a_disconnect(served):
    with enter(served, "cut") as client:
        client.socket.shutdown(socket.SHUT_RDWR)
    eventually(lambda: [("DISCONNECT", b"")] in requests_of(served, "cut"), 10, "DISCONNECT")
    # The script throws, as libraries do, and nobody makes much of that; PHP's own log has it.
    said = [line for line in served.log().splitlines() if "php-grip does" in line]
    assert all("[wsgate#debug] PHP default:" in line for line in said)


def test_messages_that_come_while_php_works_are_one_request(served):
    with enter(served, "batch") as client:
        for text in ("sleep", "a", "b", "c"):
            client.send(text)
        answers = [client.recv(timeout=10) for _ in range(4)]
        assert answers == ["1 sleep", "2 a", "3 b", "4 c"]
    batches = [
        [text for name, text in events if name == "TEXT"] for events in requests_of(served, "batch")
    ]
    assert [b"sleep"] in batches
    assert [b"a", b"b", b"c"] in batches


def test_what_is_published_reaches_the_room_and_nobody_else(served):
    with enter(served, "one") as one, enter(served, "one") as two, enter(served, "two") as other:
        body, headers = publish(served, "one", {"content": "news"})
        assert body == b"Published\n"
        assert headers["X-Wsgate-Delivered"] == "2"
        assert [client.recv(timeout=10) for client in (one, two)] == ["news", "news"]
        one.send("leave")
        one.send("x")
        assert one.recv(timeout=10) == "2 x"
        publish(served, "one", {"content-bin": base64.b64encode(b"\xff").decode()})
        assert two.recv(timeout=10) == b"\xff"
        other.send("y")
        assert other.recv(timeout=10) == "1 y"
        one.send("z")
        assert one.recv(timeout=10) == "3 z"
        publish(served, "one", {"action": "close", "code": 4002, "reason": "over"})
        with pytest.raises(ConnectionClosed) as closed:
            two.recv(timeout=10)
        assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (4002, "over")


def test_the_python_library_publishes_with_its_token(served):
    with enter(served, "library") as client:
        publisher = GripPubControl(
            {"control_uri": served.control, "control_iss": "app", "key": KEY}
        )
        publisher.publish("library", Item(WebSocketMessageFormat("by pubcontrol")), blocking=True)
        assert client.recv(timeout=10) == "by pubcontrol"
        bearer = GripPubControl({"control_uri": served.control, "key": TOKEN})
        bearer.publish("library", Item(WebSocketMessageFormat("by the token")), blocking=True)
        assert client.recv(timeout=10) == "by the token"


def test_nobody_publishes_without_proof(served):
    for signed in (jwt.encode({"iss": "app", "exp": 2**33}, "another key " * 4, "HS256"), "x", KEY):
        request = urllib.request.Request(
            f"{served.control}/publish/",
            b'{"items":[]}',
            {"Authorization": f"Bearer {signed}"},
        )
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(request, timeout=10)
        assert refused.value.code == 401
    # The key of a route opens nothing else.
    signed = jwt.encode({"iss": "app", "exp": 2**33}, KEY, "HS256")
    request = urllib.request.Request(
        f"{served.control}/metrics", headers={"Authorization": f"Bearer {signed}"}
    )
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request, timeout=10)
    assert refused.value.code == 401


def test_the_key_of_one_route_does_not_reach_the_channels_of_another(served):
    with enter(served, "shared") as one, enter(served, "shared", "/other") as other:
        publish(served, "shared", {"content": "for one"})
        publish(served, "shared", {"content": "for the other"}, key=bytes(range(32)))
        assert one.recv(timeout=10) == "for one"
        assert other.recv(timeout=10) == "for the other"


def test_a_key_that_is_exchanged_while_a_body_comes_opens_no_channel_of_another_route():
    with grip() as running, enter(running, "late") as client:
        body = json.dumps({"items": [{"channel": "late", "formats": {"ws-message": NEWS}}]})
        signed = jwt.encode({"iss": "app", "exp": 2**33}, bytes(range(32)), "HS256")
        host, port = running.control.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), 10) as publisher:
            publisher.sendall(
                b"POST /publish/ HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n"
                b"Content-Length: %d\r\nAuthorization: Bearer %s\r\n\r\n"
                % (len(body), signed.encode())
            )
            assert publisher.recv(1000).startswith(b"HTTP/1.1 100 ")
            running.place.write("other-key", "another-key-of-this-route-and-longer")
            publisher.sendall(body.encode())
            assert publisher.recv(1000).startswith(b"HTTP/1.1 401 ")
        client.send("x")
        assert client.recv(timeout=10) == "1 x"


def test_php_knows_the_gateway_and_no_client_can_pass_for_it(served):
    forged = {
        "X-Room": "forged",
        "Grip-Sig": "forged",
        "Meta-Count": "41",
        "Connection-Id": "forged",
        "Content-Type": "forged",
        "Accept": "forged",
        "Content-Bytes-Replayed": "5",
    }
    with served.connect("/chat?room=forged", additional_headers=forged) as client:
        client.recv(timeout=10)
        client.send("x")
        assert client.recv(timeout=10) == "1 x"
    lines = (served.place.scripts / "requests").read_text().splitlines()
    asked = [
        request["server"]
        for request in map(json.loads, lines)
        if request["server"].get("HTTP_X_ROOM") == "forged"
    ]
    assert len(asked) >= 2
    assert "forged" not in json.dumps([{**one, "HTTP_X_ROOM": ""} for one in asked])
    for one in asked:
        assert validate_sig(one["HTTP_GRIP_SIG"], KEY)
        assert jwt.decode(one["HTTP_GRIP_SIG"], KEY, ["HS256"])["iss"] == "pushpin"
        assert one["CONTENT_TYPE"] == one["HTTP_ACCEPT"] == "application/websocket-events"
        assert one["HTTP_SEC_WEBSOCKET_EXTENSIONS"] == "grip"
        assert "HTTP_CONTENT_BYTES_REPLAYED" not in one
    assert [one.get("HTTP_META_COUNT") for one in asked][:2] == [None, None]


def test_a_refusal_of_php_is_what_the_client_sees(served):
    with pytest.raises(InvalidStatus) as refused:
        served.connect("/chat?refuse=1")
    assert refused.value.response.status_code == 403
    assert refused.value.response.body == b"not you"


def test_what_php_prints_beside_events_is_an_error_and_stays_in_the_log(served):
    with enter(served, "broken") as client:
        client.send("break")
        assert json.loads(client.recv(timeout=10))["error"]["reason"] == (
            "bad answer from the backend"
        )
        client.send("on")
        assert client.recv(timeout=10) == "1 on"
    assert "the script must print nothing but events" in served.log()
    with enter(served, "broken", "/other") as client:
        client.send("break")
        with pytest.raises(ConnectionClosed) as closed:
            client.recv(timeout=10)
        assert closed.value.rcvd.code == 1011


def test_a_worker_that_dies_costs_one_request_with_all_its_messages(served):
    with enter(served, "crash") as client:
        for text in ("sleep", "a", "crash", "b"):
            client.send(text)
        assert client.recv(timeout=10) == "1 sleep"
        error = json.loads(client.recv(timeout=10))["error"]
        assert (error["status"], error["reason"]) == (502, "the backend closed the connection")
        client.send("on")
        assert client.recv(timeout=10) == "2 on"
    batches = [[text for _, text in events] for events in requests_of(served, "crash")]
    assert [b"a", b"crash", b"b"] in batches


def test_a_close_of_php_has_its_code(served):
    with enter(served, "bye") as client:
        client.send("bye")
        with pytest.raises(ConnectionClosed) as closed:
            client.recv(timeout=10)
        assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (4001, "bye")


def test_what_php_gets_is_what_the_python_library_reads():
    body = (
        b"OPEN\r\nTEXT 5\r\nhello\r\nTEXT 0\r\n\r\nBINARY a\r\n0123456789\r\n"
        b"CLOSE 2\r\n\x03\xe8\r\n"
    )
    ours = decode_events(body)
    assert encode_events(ours) == body
    theirs = [(event.type, event.content) for event in decode_websocket_events(body)]
    assert [(name, content or b"") for name, content in theirs] == [
        (event.name, event.content or b"") for event in ours
    ]


def test_a_stop_tells_php_of_every_end():
    with grip() as running, contextlib.ExitStack() as clients:
        for number in range(12):
            client = clients.enter_context(enter(running, f"stop{number}"))
            for text in ("a", "b", "c"):
                client.send(text)
            assert [client.recv(timeout=10) for _ in range(3)] == ["1 a", "2 b", "3 c"]
        assert running.stop() == 0
        assert "36 received, 36 answered, 0 refused, 0 gone" in running.log()
        ends = [requests_of(running, f"stop{number}")[-1][0] for number in range(12)]
        assert {(name, content[:2]) for name, content in ends} == {("CLOSE", b"\x03\xe9")}


def test_publishing_reaches_the_clients_of_all_workers():
    with (
        redis_server() as redis,
        grip(PLAIN, "--workers=2", f"--bus={redis.url}") as running,
        contextlib.ExitStack() as clients,
    ):
        members = [clients.enter_context(enter(running, "many")) for _ in range(8)]
        _, headers = publish(running, "many", {"content": "to all"})
        assert headers["X-Wsgate-Delivered"] == "8"
        assert [member.recv(timeout=10) for member in members] == ["to all"] * 8
        _, headers = publish(running, "many", {"action": "close", "code": 4003})
        for member in members:
            with pytest.raises(ConnectionClosed) as closed:
                member.recv(timeout=10)
            assert closed.value.rcvd.code == 4003


NO_GRIP = CONFIG.partition("[[route]]")[0] + '[[route]]\nscript = "chat.php"\n'
OTHER_KEY = "another-key-that-is-long-enough-as-well"


def refusal_of(publishing, *arguments, **words):
    """The status of a publish that is refused."""
    with pytest.raises(urllib.error.HTTPError) as refused:
        publishing(*arguments, **words)
    return refused.value.code


def publish_by_token(running, path="publish/"):
    """The status of a publish with the token of the control interface."""
    request = urllib.request.Request(
        f"{running.control}/{path}", b'{"items":[]}', {"Authorization": f"Bearer {TOKEN}"}
    )
    with urllib.request.urlopen(request, timeout=10) as response:
        return response.status


def described(running):
    """The paths that the control interface tells of."""
    headers = {"Authorization": f"Bearer {TOKEN}"}
    request = urllib.request.Request(f"{running.control}/openapi.json", headers=headers)
    with urllib.request.urlopen(request, timeout=10) as response:
        return set(json.load(response)["paths"])


def reloading(running):
    file = File(running)
    file.path = running.place.scripts / "wsgate.toml"
    return file.reload


WORKERS = [
    pytest.param((), Gateway.accepts, id="alone"),
    pytest.param(("--workers=2",), ready_with(2), id="workers"),
]


@pytest.mark.parametrize(("options", "ready"), WORKERS)
def test_a_route_that_comes_by_a_reload_is_published_to_and_one_that_goes_is_not(options, ready):
    with grip(PLAIN, *options, config=NO_GRIP, ready=ready) as running:
        reload = reloading(running)
        assert refusal_of(publish_by_token, running) == 404
        assert refusal_of(publish, running, "news", NEWS) == 401
        assert "/publish/" not in described(running)
        reload(CONFIG, seconds=60)
        assert "/publish/" in described(running)
        assert publish_by_token(running) == publish_by_token(running, "publish") == 200
        with enter(running, "news") as client, enter(running, "news", "/other") as other:
            for key in (KEY, bytes(range(32))):
                _, headers = publish(running, "news", NEWS, key=key)
                assert headers["X-Wsgate-Delivered"] == "1"
            assert (client.recv(timeout=10), other.recv(timeout=10)) == ("news", "news")
        reload(NO_GRIP, seconds=60)
        assert refusal_of(publish_by_token, running) == 404
        assert refusal_of(publish, running, "news", NEWS) == 401
        assert "/publish/" not in described(running)
        assert running.stop() == 0
        assert "Traceback" not in running.log()


@pytest.mark.parametrize(("options", "ready"), WORKERS)
def test_another_key_and_another_prefix_hold_from_a_reload_on(options, ready):
    with grip(PLAIN, *options, ready=ready) as running:
        running.place.write("new-key", OTHER_KEY)
        publish(running, "news", NEWS)
        changed = CONFIG.replace('"key"', '"new-key"\ngrip_prefix = "mine-"')
        reloading(running)(changed, seconds=60)
        assert refusal_of(publish, running, "news", NEWS) == 401
        with enter(running, "news") as client:
            _, headers = publish(running, "news", NEWS, key=OTHER_KEY)
            assert headers["X-Wsgate-Delivered"] == "1"
            assert client.recv(timeout=10) == "news"


@pytest.mark.parametrize(("options", "ready"), WORKERS)
def test_a_key_that_cannot_be_used_changes_nothing_and_is_told_in_one_line(options, ready):
    with grip(PLAIN, *options, ready=ready) as running, enter(running, "news") as client:
        running.place.write("new-key", "short")
        below = set(running.php_pids())
        # Another PHP too, which must not take over.
        bad = CONFIG.replace('"key"', '"new-key"').replace("max_in_flight = 2", "max_in_flight = 4")
        reloading(running)(bad, says="the settings stay as they were", seconds=60)
        (line,) = (line for line in running.log().splitlines() if "SIGHUP" in line)
        assert "/new-key: needs one line of at least 16 characters" in line
        publish(running, "news", NEWS)
        assert client.recv(timeout=10) == "news"
        client.send("x")
        assert client.recv(timeout=10) == "1 x"
        eventually(lambda: set(running.php_pids()) <= below, 10, "no other PHP is left")


def test_without_a_control_interface_a_key_that_cannot_be_used_changes_nothing_either():
    config = CONFIG.replace('control_token_file = "token"\n', "")
    scripts = {"chat.php": PLAIN, "key": KEY, "other-key": KEY, "wsgate.toml": config}
    with (
        gateway("--config={scripts}/wsgate.toml", scripts=scripts, script=None) as running,
        enter(running, "news") as client,
    ):
        running.place.write("new-key", "short")
        below = set(running.php_pids())
        bad = config.replace('"key"', '"new-key"').replace("max_in_flight = 2", "max_in_flight = 4")
        reloading(running)(bad, says="the settings stay as they were", seconds=60)
        eventually(lambda: set(running.php_pids()) <= below, 20, "no other PHP is left")
        client.send("x")
        assert client.recv(timeout=10) == "1 x"
        reloading(running)(config.replace("max_in_flight = 2", "max_in_flight = 4"), seconds=60)
        client.send("y")
        assert client.recv(timeout=10) == "2 y"
        assert running.stop() == 0
        assert "Traceback" not in running.log()


def examples():
    """The PHP of docs/grip.md: with the library, its publisher, and without a library."""
    return blocks(page("grip.md"), "php")


def chat_of_the_page(running):
    with running.connect("/chat") as client:
        for text in ("hi", "", "Zoë"):
            client.send(text)
            assert client.recv(timeout=10) == f"You said: {text}"
        publish(running, "chat", {"content": "News for all"})
        assert client.recv(timeout=10) == "News for all"


def test_the_example_of_the_page_works_as_written():
    with grip(examples()[2]) as running:
        chat_of_the_page(running)


@pytest.mark.skipif(not AUTOLOAD, reason="php-grip is in no package; see grip_scripts")
def test_the_example_with_the_library_works_as_written():
    with grip(
        examples()[0].replace("__DIR__ . '/vendor/autoload.php'", f"'{AUTOLOAD}'")
    ) as running:
        chat_of_the_page(running)


@pytest.mark.skipif(not AUTOLOAD, reason="php-grip is in no package; see grip_scripts")
def test_the_same_chat_with_php_grip_and_its_publisher():
    with grip(WITH_LIBRARY.replace("{autoload}", AUTOLOAD)) as running:
        with enter(running, "lobby") as client, enter(running, "lobby") as other:
            for text in ("sleep", "a", "b"):
                client.send(text)
            assert [client.recv(timeout=10) for _ in range(3)] == ["1 sleep", "2 a", "3 b"]
            other.send("leave")
            other.send("x")
            assert other.recv(timeout=10) == "2 x"
            script = running.place.write("publish.php", PUBLISH_WITH_LIBRARY)
            url = f"{running.control}/?iss=app&key={KEY}"
            subprocess.run(["php", script, AUTOLOAD, url, "lobby", "news"], check=True, timeout=60)
            assert client.recv(timeout=10) == "news"
            with pytest.raises(ConnectionClosed) as closed:
                client.recv(timeout=10)
            assert closed.value.rcvd.code == 4002
            other.send("bye")
            with pytest.raises(ConnectionClosed) as closed:
                other.recv(timeout=10)
            assert closed.value.rcvd.code == 4001
        # The one that was closed by the publisher is told to the script, which answers.
        codes = running.place.scripts / "closed"
        eventually(lambda: codes.exists() and codes.read_text() == "4002\n", 10, "the close")
