"""docs/rate-limits.md does what it says, on one gateway, several workers, and several machines."""

import contextlib
import json
import re
import signal
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.integration.bus_of_gateways import Node
from tests.integration.gateway_process import eventually, free_port, gateway
from tests.integration.redis_server import redis_server
from tests.pages import blocks, page

(FIRST, SEVERAL), (CHAT,), (ERROR,) = (
    blocks(page("rate-limits.md"), language) for language in ("toml", "php", "json")
)
ANY = "--set=limits.new_connections_per_address=0"

# Whoever says so is that user from then on.
USERS = """<?php
$said = file_get_contents('php://input');
if (str_starts_with($said, 'user ')) header('Wsgate-User: ' . substr($said, 5));
echo $said;
"""


@contextlib.contextmanager
def served(config, *options, chat=CHAT, files=None):
    """A gateway with a configuration of the page."""
    port = free_port()
    text = config.replace('"tcp:8080"', f'"tcp:{port}:interface=127.0.0.1"')
    with gateway(
        *("--config", "{scripts}/wsgate.toml", "--port", "tcp:{port}:interface=127.0.0.1"),
        *("--control", "unix:{folder}/control.sock", ANY, *options),
        scripts={"wsgate.toml": text, "chat.php": chat, **(files or {})},
        script=None,
        port=None,
        workers=None,
    ) as process:
        found = Node(process)
        eventually(found.control.ready, 20, "the control interface answers")
        yield found


def client(node, stack=None):
    connection = node.gateway.connect("/chat").__enter__()
    if stack is not None:
        stack.callback(connection.close)
    return connection


@pytest.fixture
def stack():
    with contextlib.ExitStack() as found:
        yield found


def say(connections, count, text="hi"):
    """How many of so many messages, given out in turn, passed; the others were told."""
    for number in range(count):
        connections[number % len(connections)].send(text)
    passed = 0
    for number in range(count):
        heard = connections[number % len(connections)].recv(timeout=10)
        if heard.startswith('{"error":'):
            error = json.loads(heard)["error"]
            assert error["status"] == 429
            assert re.fullmatch(r"too many messages, try again in [0-9]+ s", error["reason"])
        else:
            passed += 1
    return passed


def say_all(connections, count):
    """As `say`, with those that another process had ahead and has given back."""
    passed = say(connections, count)
    time.sleep(2.2)
    return passed + say(connections, count)


def outcomes(node, name):
    figures = node.control.figures()
    return {
        key[2]: value
        for key, value in figures.items()
        if key[:2] == ("wsgate_hook_outcomes_total", name)
    }


def test_the_page_as_written(stack):
    with served(FIRST) as node:
        one = client(node, stack)
        began = time.monotonic()
        for _ in range(30):
            one.send("hi")
        heard = [one.recv(timeout=10) for _ in range(30)]
        took = time.monotonic() - began
        assert heard[:20] == ["You said: hi"] * 20
        passed = sum(text == "You said: hi" for text in heard)
        assert passed <= 20 + 10 * took + 1
        refused = json.loads(next(text for text in heard if "error" in text))
        expected = json.loads(ERROR)
        expected["error"]["message_id"] = refused["error"]["message_id"]
        assert refused == expected
        assert outcomes(node, "calm")["refused"] == 30 - passed


def test_several_as_written(stack):
    with served(SEVERAL) as node:
        one = client(node, stack)
        assert say([one], 5) == 5
        for _ in range(40):
            with contextlib.suppress(ConnectionClosed):
                one.send("hi")
        with pytest.raises(ConnectionClosed) as closed:
            list(one)
        assert closed.value.rcvd.code == 1008
        assert closed.value.rcvd.reason == "too many messages"
        response = None
        for _ in range(40):
            try:
                client(node, stack)
            except InvalidStatus as refused:
                response = refused.response
        assert response is not None
        assert response.status_code == 429
        assert response.headers["Retry-After"] in ("1", "2")
        assert b"Too many connections, try again in" in response.body


# -- several processes

SLOW = """
[gateway]
port = "tcp:8080"
[hooks.calm]
use = "rate"
rate = "60/h"
burst = 40
[[route]]
path = "/chat"
script = "chat.php"
hooks = ["calm"]
"""


def bound(node_count=1, seconds=0.0):
    """How many may pass at most."""
    return 40 * node_count + int(seconds / 60) + 1


def test_workers_share_one_bucket_through_their_parent(stack):
    with served(SLOW, "--workers", "3") as node:
        connections = [client(node, stack) for _ in range(12)]
        assert 40 <= say_all(connections, 120) <= bound(seconds=10)
        assert say(connections, 24) <= 1
        eventually(lambda: outcomes(node, "calm").get("refused", 0) >= 100, 5, "workers report")
        counted = outcomes(node, "calm")
        assert 3 <= counted["asked"] < 70
        assert "alone" not in counted


def test_machines_share_one_bucket_through_redis_and_a_user_has_one_wherever_it_is(stack):
    with redis_server() as redis:
        nodes = [
            stack.enter_context(served(SLOW, "--bus", redis.url, chat=USERS)) for _ in range(3)
        ]
        for node in nodes:
            eventually(node.is_up, 10, "the bus is there")
        connections = [client(node, stack) for node in nodes for _ in range(2)]
        for number, one in enumerate(connections):
            # Six of 40 of the address.
            assert say([one], 1, f"user {'ann' if number % 2 else 'bob'}") == 1
        ann, bob = connections[1::2], connections[::2]
        assert say_all(ann, 60) in (40, 41)
        assert say_all(bob, 60) in (40, 41)
        # A stranger has what is left of the address'.
        strangers = [client(node, stack) for node in nodes]
        assert say_all(strangers, 60) in (34, 35)
        assert sum(outcomes(node, "calm")["asked"] for node in nodes) < 150
        keys = redis.command("KEYS", "wsgate:rate:*").split("\n")
        assert sorted(keys) == [
            f"wsgate:rate:calm /chat {whom}" for whom in ("a/127.0.0.1", "u/ann", "u/bob")
        ]


def test_many_at_once_on_several_machines_get_no_more_than_there_is(stack):
    with redis_server() as redis:
        nodes = [stack.enter_context(served(SLOW, "--bus", redis.url)) for _ in range(3)]
        for node in nodes:
            eventually(node.is_up, 10, "the bus is there")
        began = time.monotonic()
        with ThreadPoolExecutor(9) as pool:
            passed = pool.map(lambda number: say([client(nodes[number % 3], stack)], 30), range(9))
            assert 20 <= sum(passed) <= bound(seconds=time.monotonic() - began)


def test_while_redis_is_away_each_gateway_limits_for_itself_and_then_all_together_again(stack):
    with redis_server() as redis:
        nodes = [stack.enter_context(served(SLOW, "--bus", redis.url)) for _ in range(2)]
        for node in nodes:
            eventually(node.is_up, 10, "the bus is there")
        connections = [client(node, stack) for node in nodes]
        assert 40 <= say_all(connections, 80) <= bound(seconds=10)
        redis.kill()
        for node in nodes:
            eventually(lambda node=node: not node.is_up(), 10, "it is noticed")
        # Who was refused is refused for a second more without being asked for.
        time.sleep(1.1)
        assert [40 <= say([one], 60) <= bound(seconds=10) for one in connections] == [True] * 2
        for node in nodes:
            assert outcomes(node, "calm")["alone"] == 60
            log = node.gateway.log()
            assert log.count("hook calm: the bus is away; limits hold for each process") == 1
        redis.start()
        for node in nodes:
            eventually(node.is_up, 10, "the bus is back")
        time.sleep(1.1)
        assert 40 <= say_all(connections, 80) <= bound(seconds=10)
        for node in nodes:
            assert node.gateway.log().count("hook calm: limits hold for all processes again") == 1


def test_a_redis_that_does_not_answer_holds_nobody_up_for_long(stack):
    with redis_server() as redis, served(SLOW, "--bus", redis.url) as node:
        eventually(node.is_up, 10, "the bus is there")
        one = client(node, stack)
        assert say([one], 1) == 1
        redis.process.send_signal(signal.SIGSTOP)
        try:
            began = time.monotonic()
            assert 39 <= say([one], 60) <= 41
            assert time.monotonic() - began < 2
        finally:
            redis.process.send_signal(signal.SIGCONT)
        assert "the bus does not answer" in node.gateway.log()


DOOR = """
from wsgate.hooks import Hook


class Door(Hook):
    def __init__(self, services):
        pass

    def on_connect(self, connection):
        connection.bind_user(connection.query("me"))
"""


def test_behind_a_hook_that_knows_the_user_and_changed_by_sighup(stack):
    strict = SLOW.replace('hooks = ["calm"]', 'hooks = ["door:Door", "calm"]').replace("40", "3")
    with served(strict, files={"door.py": DOOR}) as node:

        def come(me):
            connection = node.gateway.connect(f"/chat?me={me}").__enter__()
            stack.callback(connection.close)
            return connection

        ann, other = come("ann"), come("ann")
        assert say([ann, other], 8) == 3
        assert say([come("bob")], 8) == 3
        file = node.gateway.place.scripts / "wsgate.toml"
        file.write_text(file.read_text().replace("burst = 3", "burst = 5"))
        node.gateway.process.send_signal(signal.SIGHUP)
        eventually(lambda: "new settings taken" in node.gateway.log(), 10, "reloaded")
        assert say([come("cid")], 8) == 5
