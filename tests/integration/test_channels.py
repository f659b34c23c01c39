"""Channels, users and variables through the whole service and real PHP."""

import json
import os
import re
import signal
import socket

import pytest

from tests.integration.chromium import Chromium
from tests.integration.gateway_process import eventually, gateway
from tests.integration.raw_client import RawClient
from tests.integration.test_control import UnixConnection, controlled
from tests.pages import blocks, page

MIB = 2**20

SCRIPTS = {
    # Does what it is told: header lines and a body. On connect it does what the query says.
    "room.php": """<?php
if ($_SERVER['WSGATE_EVENT'] === 'connect') {
    foreach ((array) ($_GET['header'] ?? []) as $line) header($line, false);
    echo $_GET['body'] ?? '';
    return;
}
$ask = json_decode(file_get_contents('php://input'), true);
foreach ($ask['headers'] ?? [] as $line) header($line, false);
if (isset($ask['status'])) http_response_code($ask['status']);
if (isset($ask['server'])) {
    header('Content-Type: application/json');
    $ours = fn ($name) => str_starts_with($name, 'WSGATE_');
    echo json_encode(array_filter($_SERVER, $ours, ARRAY_FILTER_USE_KEY));
} else {
    echo str_repeat($ask['body'] ?? '', $ask['times'] ?? 1);
}
"""
}
EVENTS = "--events=connect,message"
HISTORY = "--set=limits.channel_history=5"


@pytest.fixture(scope="module")
def running():
    with gateway(EVENTS, HISTORY, script="room.php", scripts=SCRIPTS) as found:
        yield found


class Client:
    """A client of room.php."""

    def __init__(self, running, path="/"):
        self._connecting = running.connect(path, max_size=None)
        self.socket = self._connecting.__enter__()

    def ask(self, *headers, body="", **more):
        """Have PHP answer with these headers; nothing is read."""
        self.socket.send(json.dumps({"headers": headers, "body": body, **more}))

    def hears(self):
        return self.socket.recv(timeout=10)

    def does(self, *headers):
        """As `ask`, and wait until it is done."""
        self.ask(*headers, body="done")
        assert self.hears() == "done"

    def sees(self):
        """What PHP sees of this connection."""
        self.ask(server=True)
        return json.loads(self.hears())

    def hears_nothing_more(self):
        """Whether nothing is on its way: the next to come is the answer to a question."""
        self.does()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._connecting.__exit__(None, None, None)


def test_subscribing_and_publishing_in_one_answer_reaches_the_sender_too(running):
    with Client(running) as one:
        one.ask("Wsgate-Subscribe: lobby", "Wsgate-Publish: lobby", body="hello")
        assert one.hears() == "hello"
        one.hears_nothing_more()


def test_a_publish_reaches_all_subscribers_in_order_and_nobody_else(running):
    with Client(running) as one, Client(running) as two, Client(running) as other:
        for client in (one, two):
            client.does("Wsgate-Subscribe: order, unused")
        for number in range(50):
            one.ask("Wsgate-Publish: order", body=str(number))
        for client in (one, two):
            assert [client.hears() for _ in range(50)] == [str(n) for n in range(50)]
        other.hears_nothing_more()


def test_a_binary_answer_is_published_as_one(running):
    with Client(running) as one:
        headers = ("Wsgate-Subscribe: b", "Wsgate-Publish: b", "Content-Type: image/png")
        one.ask(*headers, body="png")
        assert one.hears() == b"png"


def test_except_self_leaves_the_sender_out(running):
    with Client(running) as one, Client(running) as two:
        for client in (one, two):
            client.does("Wsgate-Subscribe: others")
        one.ask("Wsgate-Publish: others; except-self", body="hello")
        assert two.hears() == "hello"
        one.hears_nothing_more()


def test_who_has_left_gets_nothing_more(running):
    with Client(running) as one, Client(running) as two:
        for client in (one, two):
            client.does("Wsgate-Subscribe: leaving")
        one.does("Wsgate-Unsubscribe: leaving")
        two.ask("Wsgate-Publish: leaving", body="still here")
        assert two.hears() == "still here"
        one.hears_nothing_more()


def test_a_connection_that_is_gone_leaves_and_costs_nobody_anything(running):
    with Client(running) as one:
        one.does("Wsgate-Subscribe: gone")
        with Client(running) as two:
            two.does("Wsgate-Subscribe: gone")
            two.socket.socket.shutdown(socket.SHUT_RDWR)
        one.ask("Wsgate-Publish: gone", body="x")
        assert one.hears() == "x"


def test_the_answer_to_a_connect_does_the_same(running):
    path = "/?header[]=Wsgate-Subscribe:+door&header[]=Wsgate-User:+jane&header[]=Wsgate-Set:+a=1"
    with Client(running, path + "&body=welcome") as one, Client(running) as two:
        assert one.hears() == "welcome"
        two.ask("Wsgate-Publish: door", body="knock")
        assert one.hears() == "knock"
        seen = one.sees()
        assert (seen["WSGATE_USER"], seen["WSGATE_VAR_A"]) == ("jane", "1")


def test_variables_and_user_come_back_with_each_message_until_they_are_forgotten(running):
    with Client(running) as one:
        one.does("Wsgate-Set: Room=lobby", "Wsgate-Set: name=Zoë", "Wsgate-User: 42")
        seen = one.sees()
        assert seen["WSGATE_VAR_ROOM"] == "lobby"
        assert seen["WSGATE_VAR_NAME"] == "Zoë"
        assert seen["WSGATE_USER"] == "42"
        one.does("Wsgate-Set: name=", "Wsgate-User:")
        seen = one.sees()
        assert seen["WSGATE_VAR_ROOM"] == "lobby"
        assert not {"WSGATE_VAR_NAME", "WSGATE_USER"} & set(seen)


def test_a_bad_header_is_a_warning_that_names_it_and_the_mend(running):
    with Client(running) as one:
        one.does("Wsgate-Subscribe: no spaces", "Wsgate-Set: 1x=2")
    eventually(lambda: "Wsgate-Subscribe: 'no spaces' is no name for a channel" in running.log())
    assert "write 1 to 164 letters" in running.log()
    assert "Wsgate-Set: '1x=2' is not name=value" in running.log()


def test_variables_and_subscriptions_stay_over_a_reload(running):
    with Client(running) as one:
        one.does("Wsgate-Set: kept=yes", "Wsgate-Subscribe: reload")
        before = running.log().count("SIGHUP: ")
        os.kill(running.pid, signal.SIGHUP)
        eventually(lambda: running.log().count("SIGHUP: ") > before, 10, "it has reloaded")
        assert one.sees()["WSGATE_VAR_KEPT"] == "yes"
        one.ask("Wsgate-Publish: reload", body="again")
        assert one.hears() == "again"


# -- coming back


def envelopes(client, count):
    return [json.loads(client.hears()) for _ in range(count)]


def joins(client, room):
    """Subscribe with recover; what the first envelope says."""
    client.ask(f"Wsgate-Subscribe: {room}; recover", status=204)
    return json.loads(client.hears())


def test_who_comes_back_gets_what_it_missed_and_nothing_twice(running):
    with Client(running) as other:
        other.does("Wsgate-Subscribe: back")
        with Client(running) as one:
            first = joins(one, "back")
            assert first["recovered"] is None
            other.ask("Wsgate-Publish: back", body="1")
            (said,) = envelopes(one, 1)
            assert (said["channel"], said["data"]) == ("back", "1")
        for number in "23":
            other.ask("Wsgate-Publish: back", body=number)
        with Client(running, f"/?last={said['last']}") as one:
            assert joins(one, "back")["recovered"] is True
            other.ask("Wsgate-Publish: back", body="4")
            found = envelopes(one, 3)
            assert [said["data"] for said in found] == ["2", "3", "4"]
            offsets = [int(said["last"].rpartition(":")[2]) for said in found]
            assert offsets == [2, 3, 4]
        assert [other.hears() for _ in range(4)] == ["1", "2", "3", "4"]


def test_who_comes_back_too_late_or_with_a_place_nobody_knows_is_told_that_it_cannot(running):
    with Client(running) as one:
        last = joins(one, "late")["last"]
        for number in range(6):
            one.ask("Wsgate-Publish: late", body=str(number))
        newest = envelopes(one, 6)[-1]["last"]
        for place in (last, "00ff:3", "nonsense"):
            with Client(running, f"/?last={place}") as again:
                first = joins(again, "late")
                assert (first["recovered"], first["last"]) == (False, newest)
                again.hears_nothing_more()


# -- pushed from outside


def post(path, target, body, kind="text/plain"):
    """POST to the control interface; status and JSON."""
    connection = UnixConnection(str(path))
    connection.request("POST", target, body, {"Content-Type": kind})
    answer = connection.getresponse()
    found = answer.status, json.loads(answer.read())
    connection.close()
    return found


@pytest.fixture
def small():
    """A gateway with little room for what is pushed, and its control interface."""
    options = ("--set=limits.push_buffer=256KiB", "--set=limits.max_answer_size=17MiB")
    memory = "--set=pools.default.ini.memory_limit=256M"
    with controlled(*options, memory, script="room.php", scripts=SCRIPTS) as found:
        yield found


def raw_ask(client, *headers, **more):
    client.send_message(json.dumps({"headers": headers, **more}).encode())


def test_a_slow_subscriber_is_closed_and_the_others_get_everything(small):
    running, control = small
    with RawClient(running.port) as slow, Client(running) as quick:
        slow.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        raw_ask(slow, "Wsgate-Subscribe: fast", body="done")
        assert slow.receive_message() == b"done"
        quick.does("Wsgate-Subscribe: fast")
        payload = "x" * 65536
        for _ in range(2000):
            status, said = post(control.path, "/channels/fast", payload)
            assert status == 200
            assert quick.hears() == payload
            if said == {"delivered": 1}:
                break
        hits = ("wsgate_limit_hits_total", "push_buffer")
        eventually(lambda: control.figures()[hits] == 1, 5, "it is counted")
        assert eventually(lambda: "does not take what is pushed to it" in running.log())
        # It has taken nothing of its close either, and is dropped.
        dropped = ("wsgate_drops_total", "close timeout")
        eventually(lambda: control.figures()[dropped] == 1, 15, "it is dropped")
        eventually(lambda: control.figures()["wsgate_channel_subscriptions",] == 1, 5)
        quick.hears_nothing_more()


def test_a_push_in_the_middle_of_a_long_answer_comes_behind_it(small):
    running, control = small
    with RawClient(running.port) as client:
        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        raw_ask(client, "Wsgate-User: jane", body="0123456789abcdef", times=MIB)
        first = client.receive_frame()
        assert not first.is_final
        assert post(control.path, "/users/jane", "pushed") == (200, {"delivered": 1})
        size = len(first.payload)
        while not first.is_final:
            first = client.receive_frame()
            if first.opcode < 8:
                assert first.opcode == 0
                size += len(first.payload)
        assert size == 16 * MIB
        assert client.receive_message() == b"pushed"


def test_a_user_is_reached_on_all_its_connections(small):
    running, control = small
    with Client(running) as one, Client(running) as two:
        for client in (one, two):
            client.does("Wsgate-User: joe")
        assert post(control.path, "/users/joe", "hi") == (200, {"delivered": 2})
        assert (one.hears(), two.hears()) == ("hi", "hi")
        two.does("Wsgate-User: jim")
        assert post(control.path, "/users/joe", "again") == (200, {"delivered": 1})
        assert one.hears() == "again"


# -- what the documents promise works as it is written there


def example(document, language, number=0):
    """One of the examples in a document."""
    return blocks(page(document), language)[number]


def test_the_chat_room_of_the_documents_is_one():
    scripts = {"chat.php": example("channels.md", "php")}
    with (
        gateway(EVENTS, script="chat.php", scripts=scripts) as running,
        running.connect() as one,
        running.connect() as two,
    ):
        one.send("hello")
        said = one.recv(timeout=10)
        assert re.fullmatch(r"[0-9a-f]{4} says: hello", said)
        assert two.recv(timeout=10) == said


def test_the_state_of_the_documents_comes_back():
    scripts = {"state.php": example("state.md", "php")}
    with (
        gateway(EVENTS, script="state.php", scripts=scripts) as running,
        running.connect("/?room=attic") as one,
    ):
        one.send("?")
        assert re.fullmatch(r"You have been in attic since \d+", one.recv(timeout=10))


def test_a_browser_comes_back_with_the_script_of_the_documents_and_misses_nothing():
    scripts = {"chat.php": example("channels.md", "php", 1)}
    page = """
        window.shown = []; window.anew = [];
        window.show = (channel, data) => shown.push(data);
        window.startAnew = (channel) => anew.push(channel);
        window.sockets = [];
        const Real = WebSocket;
        window.WebSocket = function (url) { sockets.push(new Real(url)); return sockets.at(-1); };
    """
    code = example("channels.md", "js").replace("wss://", "ws://").replace("4000 *", "1000 *")
    with (
        controlled(
            *(EVENTS, HISTORY, "--path=/chat", "--demo"), script="chat.php", scripts=scripts
        ) as (running, control),
        Chromium() as browser,
    ):
        browser.open(f"http://127.0.0.1:{running.port}/")
        browser.run(page + code)

        def publish(text):
            status, _ = post(control.path, "/channels/lobby", text)
            assert status == 200

        def subscribers():
            return control.get("/channels/lobby")[1]["subscribers"]

        eventually(lambda: subscribers() == 1, 10, "it is in the lobby")
        publish("1")
        eventually(lambda: browser.run("return shown") == ["1"], 10, "it has the first")
        browser.run("sockets[0].close()")
        eventually(lambda: subscribers() == 0, 10, "it is gone")
        publish("2")
        publish("3")
        eventually(lambda: browser.run("return shown") == ["1", "2", "3"], 10, "it has them all")
        assert browser.run("return anew") == []
