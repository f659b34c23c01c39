"""docs/cached-answers.md does what it says: its scripts, settings and commands, as written."""

import contextlib
import json
import re
import shlex
import socket
import subprocess
from pathlib import Path

import pytest

from tests.integration.gateway_process import eventually, gateway, twistd
from tests.integration.redis_server import redis_server
from tests.integration.websocket_client import connect
from wsgate.hooks.cache import hook

TEXT = (Path(__file__).parents[2] / "docs/cached-answers.md").read_text()


def blocks(language, name):
    """The blocks of a language by the file name in their comment."""
    found = {}
    for block in re.findall(rf"^```{language}\n(.*?)^```$", TEXT, re.M | re.S):
        match = re.search(name, block, re.M)
        assert match is not None, block
        found[match[1]] = block
    return found


SCRIPTS = blocks("php", r"^// (\w+\.php):")
SETTINGS = blocks("toml", r"^# (\w+\.toml)$")
COMMANDS = re.findall(r"^```sh\n(.*?)^```$", TEXT, re.M | re.S)
START, PURGES = COMMANDS


@contextlib.contextmanager
def documented(settings, *options, **changes):
    """The gateway that the document starts, with these settings, where its scripts are."""
    _, quiet, *rest, file = shlex.split(START)
    assert file == "wsgate.toml"
    command = [twistd(), quiet, "--pidfile=", *rest, "{scripts}/" + settings]
    scripts = SCRIPTS | SETTINGS
    for before, after in changes.items():
        assert before in scripts[settings]
        scripts[settings] = scripts[settings].replace(before, after)
    with gateway(
        *options,
        command=command,
        scripts=scripts,
        script=None,
        workers=None,
    ) as running:
        yield running


def price(running, path="/prices"):
    answer = json.loads(running.ask('{"product":5}', path))
    assert (answer["product"], answer["price"]) == (5, 42)
    return answer["at"]


@pytest.fixture(scope="module")
def prices():
    with documented("wsgate.toml", "--control=unix:{scripts}/control.sock") as running:
        price(running)
        yield running


def test_the_prices_are_worked_out_once_in_ten_seconds(prices):
    with prices.connect("/prices") as client:

        def ask():
            client.send('{"product":5}')
            return client.recv(timeout=30)

        first = ask()
        assert json.loads(first)["at"] == price(prices)
        eventually(lambda: ask() != first, 20, "PHP is asked again")


def test_those_who_ask_while_php_works_wait_for_that_answer(prices):
    purge(prices)
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(prices.connect("/prices")) for _ in range(8)]
        for client in clients:
            client.send('{"product":5}')
        answers = {client.recv(timeout=30) for client in clients}
    assert len(answers) == 1


def purge(running):
    said = subprocess.run(
        ["sh", "-ec", PURGES],
        cwd=running.place.scripts,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert [json.loads(line) for line in said.stdout.splitlines()] == [{"reached": 1}] * 2


def test_the_commands_let_php_be_asked_again(prices):
    first = price(prices)
    purge(prices)
    assert price(prices) != first


def test_the_line_of_promql_names_outcomes_that_are_counted(prices):
    price(prices)
    names = set(re.findall(r'outcome=~"([a-z|]+)"', TEXT)[1].split("|"))
    source = Path(hook.__file__).read_text()
    assert names == {"hit", "stale", "coalesced", "missed", "passed"}
    assert all(f'"{name}"' in source for name in names - {"missed"})


def greeting(running, **headers):
    return running.ask("hello", "/greeting", additional_headers=headers)


def test_the_greeting_is_one_for_each_language():
    greet = {'path = "/prices"': 'path = "/greeting"', "prices.php": "greeting.php"}
    with documented("wsgate.toml", **greet) as running:
        english, german = {"Accept-Language": "en"}, {"Accept-Language": "de-AT"}
        for _ in range(2):
            assert greeting(running, **english) == "Good morning, stranger"
            assert greeting(running, **german) == "Guten Tag, stranger"


def test_the_setting_keeps_users_and_cookies_apart():
    with documented("apart.toml") as running:
        for cookie in ("a=1", "a=2"):
            assert greeting(running, Cookie=cookie) == "Good morning, stranger"


def test_of_the_query_the_room_alone_counts():
    with documented("rooms.toml") as running:
        first = price(running, "/prices?room=1&token=abc")
        assert price(running, "/prices?token=xyz&room=1") == first
        assert price(running, "/prices?room=2&token=abc") != first


def test_old_news_come_at_once_and_then_new_ones(monkeypatch):
    news = {'path = "/prices"': 'path = "/news"', "prices.php": "news.php"}
    # Nobody waits ten seconds for a test.
    sooner = SCRIPTS["news.php"].replace("max-age=10", "max-age=1")
    assert sooner != SCRIPTS["news.php"]
    monkeypatch.setitem(SCRIPTS, "news.php", sooner)
    with documented("wsgate.toml", **news) as running, running.connect("/news") as client:

        def ask():
            client.send("news?")
            return client.recv(timeout=30)

        first = ask()
        assert first.startswith("as of ")
        eventually(lambda: ask() != first, 20, "new ones")


@pytest.mark.slow
def test_answers_outlast_the_gateway_in_a_store(monkeypatch):
    longer = SCRIPTS["prices.php"].replace("max-age=10", "max-age=600")
    assert longer != SCRIPTS["prices.php"]
    monkeypatch.setitem(SCRIPTS, "prices.php", longer)

    def ask(running):
        # The host counts, and each of the two has a port of its own.
        here = socket.create_connection(("127.0.0.1", running.port))
        with connect("ws://example.com/prices", sock=here) as client:
            client.send('{"product":5}')
            return client.recv(timeout=30)

    with redis_server() as server:
        url = {"redis://127.0.0.1:6379": server.url}

        def up(running):
            return "store answers: " in running.log() and " answers\n" in running.log()

        with documented("shared.toml", **url) as running:
            eventually(lambda: up(running), 20, "the store is there")
            first = ask(running)
            eventually(lambda: int(server.command("DBSIZE")) == 2, 20, "the answer and a mark")
        with documented("shared.toml", **url) as running:
            eventually(lambda: up(running), 20, "the store is there")
            assert ask(running) == first
