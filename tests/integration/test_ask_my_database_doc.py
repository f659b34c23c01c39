"""docs/ask-my-database.md does what it says, as written, with PostgreSQL and with MariaDB."""

import json
import re

import pytest
from websockets.exceptions import InvalidStatus

from tests.integration.gateway_process import eventually, gateway
from tests.integration.mariadb_server import mariadb_server
from tests.integration.postgresql_server import postgresql_server
from tests.pages import blocks, page

DOCUMENT = page("ask-my-database.md")
TABLES, POSTGRESQL, MARIADB = blocks(DOCUMENT, "sql")
(SCRIPT,) = blocks(DOCUMENT, "php")
CONFIGURATION, OTHER_URL = blocks(DOCUMENT, "toml")
(PAGE,) = blocks(DOCUMENT, "js")
MESSAGE = re.search(r"socket\.send\('(.*)'\)", PAGE)[1]
PATH = re.search(r"localhost:8080(.*)'\)", PAGE)[1]


def configuration(server):
    """The page's, with the server's port and database."""
    if server.url.startswith("postgresql"):
        place = f"127.0.0.1:{server.port}/postgres"
        return CONFIGURATION.replace("127.0.0.1:5432/app", place)
    assert CONFIGURATION.startswith("[stores.users]\nurl = ")
    url = OTHER_URL.replace("127.0.0.1:3306", f"127.0.0.1:{server.port}")
    return url + CONFIGURATION.partition("\n\n")[2].join(["\n", ""])


@pytest.fixture(scope="module", params=["postgresql", "mariadb"])
def site(request, tmp_path_factory):
    """The page followed to its end."""
    server, user = {
        "postgresql": (postgresql_server, POSTGRESQL),
        "mariadb": (mariadb_server, MARIADB),
    }[request.param]
    with server() as running:
        running.run(TABLES + user)
        scripts = {"chat.php": SCRIPT, "wsgate.toml": configuration(running)}
        options = ("--config", "{scripts}/wsgate.toml", "--control", "unix:{folder}/control")
        lift = "--set=limits.new_connections_per_address=0"
        with gateway(*options, lift, scripts=scripts, script=None) as found:
            found.database = running
            eventually(lambda: times_up(found) == 1, 20, "the store is up")
            yield found


def times_up(site):
    return site.log().count(f"127.0.0.1:{site.database.port} answers")


def refusal(site, path):
    with pytest.raises(InvalidStatus) as caught:
        site.connect(path)
    return caught.value.response.status_code


def test_whom_the_database_knows_is_let_in_and_php_is_told_who_it_is(site):
    assert site.ask(MESSAGE, PATH) == "Ada (pro) in kitchen: hello"


def test_a_column_that_is_null_is_no_param(site):
    said = site.ask('{"room":"garden","text":"hi"}', "/chat?token=try-me-90b2e4")
    assert said == "Grace (no plan) in garden: hi"


def test_another_room_is_refused_and_the_connection_goes_on(site):
    with site.connect(PATH) as client:
        client.send('{"room": "garden", "text": "hello"}')
        error = json.loads(client.recv(timeout=20))["error"]
        assert (error["status"], error["reason"]) == (403, "not your room")
        client.send(MESSAGE)
        assert client.recv(timeout=20) == "Ada (pro) in kitchen: hello"


@pytest.mark.parametrize(
    "query",
    [
        "?token=nobody",
        "",
        "?token=",
        "?token=TRY-ME-5F1C7A",
        "?token=try-me-5f1c7a%20",
        "?token='%20or%201=1%20--%20",
        "?token=%27;%20drop%20table%20users;%20--",
        "?token=x%00",
        "?token=%F0%9F%98%80",
        "?token=" + "x" * 8193,
    ],
)
def test_whom_it_does_not_know_is_not_let_in(site, query):
    assert refusal(site, "/chat" + query) == 403
    assert site.ask(MESSAGE, PATH) == "Ada (pro) in kitchen: hello"


@pytest.mark.parametrize(
    "message",
    [
        '{"room": 0}',
        '{"room": true}',
        '{"room": null}',
        '{"room": ["kitchen"]}',
        '{"room": "\' or 1=1 -- "}',
        '{"room": "kitchen\\u0000"}',
        '{"room": "\\ud800"}',
        '{"room": ' + "9" * 5000 + "}",
        "[" * 50_000,
        "room=kitchen",
        "",
        b'{"room": "kitchen"}',
    ],
)
def test_what_is_no_room_of_the_user_is_refused(site, message):
    with site.connect(PATH) as client:
        client.send(message)
        assert json.loads(client.recv(timeout=20))["error"]["status"] == 403


def test_no_value_is_in_the_log(site):
    assert refusal(site, "/chat?token=a-secret-of-mine") == 403
    log = site.log() + site.errors()
    assert "a-secret-of-mine" not in log
    assert "PASSWORD" not in log


def test_while_the_database_is_away_nobody_comes_in(site):
    with site.connect(PATH) as client:
        site.database.kill()
        eventually(lambda: "is lost" in site.log(), 20, "it is noticed")
        assert refusal(site, PATH) == 503
        client.send(MESSAGE)
        assert json.loads(client.recv(timeout=20))["error"]["status"] == 503
        site.database.start()
        eventually(lambda: times_up(site) == 2, 20, "the store is up again")
        client.send(MESSAGE)
        assert client.recv(timeout=20) == "Ada (pro) in kitchen: hello"
