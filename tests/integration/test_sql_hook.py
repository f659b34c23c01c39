"""The hook `sql` and the stores of a real gateway: health, figures, reload, faults, workers."""

import json
import os
import re
import signal
import subprocess
from pathlib import Path

import pytest
from websockets.exceptions import InvalidStatus

from tests.integration.gateway_process import ECHO, Workplace, eventually, gateway, twistd
from tests.integration.mariadb_server import ESCAPED, PASSWORD, mariadb_server
from tests.integration.memcached_server import memcached_server
from tests.integration.postgresql_server import postgresql_server
from tests.integration.redis_server import redis_server
from tests.integration.test_control import Control

TABLE = """
create table users (id int, name varchar(100), token varchar(100));
insert into users values (1, 'Ada', 'secret');
"""
WHO = "<?php echo $_SERVER['USER_NAME'] ?? 'nobody', ' ', $_SERVER['WSGATE_USER'] ?? '';"
ANY = "--set=limits.new_connections_per_address=0"

SETTINGS = """
[stores.users]
url = "URL"
timeout = "400ms"
connect_timeout = "1s"

[hooks.check]
use = "sql"
store = "users"
query = "select id, name from users where token = ?"
values = ["SOURCE"]
user_column = "id"
params = { USER_NAME = "name" }

[[route]]
path = "/"
script = "who.php"
hooks = ["check"]

[[route]]
path = "/passing"
script = "who.php"
hooks = ["check"]
on_hook_failure = "pass"

[[route]]
path = "/free"
script = "who.php"
"""


@pytest.fixture(scope="module")
def postgresql():
    with postgresql_server() as server:
        server.run(TABLE)
        yield server


@pytest.fixture(scope="module")
def mariadb():
    with mariadb_server() as server:
        server.run(TABLE)
        yield server


def started(url, *options, source="query:token", more=""):
    settings = SETTINGS.replace("URL", url).replace("SOURCE", source) + more
    scripts = {"who.php": WHO, "wsgate.toml": settings}
    config = ("--config", "{scripts}/wsgate.toml", "--control", "unix:{folder}/control")
    return gateway(*config, ANY, *options, scripts=scripts, script=None)


def control_of(running):
    return Control(running.place.folder / "control")


def health(running):
    try:
        return control_of(running).get("/readyz")
    except OSError:
        return 0, {}


def await_store(running, state="up"):
    eventually(lambda: health(running)[1].get("stores") == {"users": state}, 20, f"it is {state}")


def status_of(running, path, **options):
    with pytest.raises(InvalidStatus) as caught:
        running.connect(path, **options)
    return caught.value.response.status_code


def test_health_and_figures_tell_of_the_store(postgresql):
    with started(postgresql.url) as running:
        await_store(running)
        assert running.ask("", "/?token=secret") == "Ada 1"
        assert status_of(running, "/?token=other") == 403
        figures = eventually(
            lambda: (
                (f := control_of(running).figures())[
                    "wsgate_store_requests_total", "users", "answered"
                ]
                == 2
                and f
            ),
            20,
        )
        assert figures["wsgate_store_up", "users"] == 1
        assert figures["wsgate_store_connections", "users"] == 1
        assert figures["wsgate_hook_outcomes_total", "check", "let_in"] == 1
        assert figures["wsgate_hook_outcomes_total", "check", "no_row"] == 1


@pytest.mark.parametrize("database", ["postgresql", "mariadb"])
def test_a_database_that_hangs_refuses_or_lets_in_as_the_route_says(database, request):
    server = request.getfixturevalue(database)
    with started(server.url) as running:
        await_store(running)
        server.freeze()
        try:
            assert status_of(running, "/?token=secret") == 503
            assert running.ask("", "/passing?token=secret") == "nobody "
            # Nobody else waits for it.
            assert running.ask("", "/free") == "nobody "
            # And what a client does wrong is no failure.
            assert status_of(running, "/passing") == 403
        finally:
            server.thaw()
        await_store(running)
        eventually(lambda: running.ask("", "/passing?token=secret") == "Ada 1", 20)


@pytest.mark.parametrize(
    ("source", "options"),
    [
        ("query:token", {"path": "?token={}"}),
        ("cookie:sid", {"additional_headers": {"Cookie": "sid={}"}}),
        ("header:X-Token", {"additional_headers": {"X-Token": "{}"}}),
        ("path", {"path": "{}"}),
    ],
)
def test_no_source_can_change_the_statement(mariadb, postgresql, source, options):
    for server in (mariadb, postgresql):
        with started(server.url, source=source) as running:
            await_store(running)
            for attack in ("'%20or%20'1'='1", "x'/**/or/**/1=1--", "\\'/**/or/**/1=1#", "?", "$1"):
                path = "/" + options.get("path", "").format(attack)
                headers = {
                    name: value.format(attack)
                    for name, value in options.get("additional_headers", {}).items()
                }
                if source == "path" and "?" in path:
                    continue
                assert status_of(running, path, additional_headers=headers) == 403
            assert server.run("select count(*) from users") == "1"


def test_a_reload_takes_another_database_and_keeps_clients(postgresql, mariadb):
    with started(postgresql.url) as running, running.connect("/?token=secret") as client:
        await_store(running)
        mariadb.run("update users set name = 'Grace'")
        file = running.place.scripts / "wsgate.toml"
        file.write_text(file.read_text().replace(postgresql.url, mariadb.url))
        running.process.send_signal(signal.SIGHUP)
        eventually(lambda: running.ask("", "/passing?token=secret") == "Grace 1", 20)
        client.send("")
        assert client.recv(timeout=20) == "Ada 1"
        eventually(lambda: "wsgate" not in sessions(postgresql), 20, "the old one is let go")
        file.write_text(file.read_text().replace("mysql://", "nosql://"))
        running.process.send_signal(signal.SIGHUP)
        eventually(lambda: "stay as they were" in running.log(), 20)
        assert running.ask("", "/?token=secret") == "Grace 1"
        mariadb.run("update users set name = 'Ada'")


def sessions(server):
    return server.run("select application_name from pg_stat_activity")


def test_each_worker_asks_for_itself(postgresql):
    with started(postgresql.url, "--workers=2") as running:
        await_store(running)
        for _ in range(6):
            assert running.ask("", "/?token=secret") == "Ada 1"
        eventually(lambda: sessions(postgresql).count("wsgate") == 2, 20, "one for each worker")


def test_the_password_is_shown_nowhere(postgresql, mariadb):
    for server in (postgresql, mariadb):
        wrong = server.url.replace(ESCAPED, "hunter2")
        with started(wrong) as running:
            await_store(running, "down")
            assert status_of(running, "/?token=secret") == 503
            seen = running.log() + running.errors()
            seen += json.dumps(health(running)) + control_of(running).get("/metrics")[1]
            assert "store users" in seen
            assert "hunter2" not in seen
        with started(server.url) as running:
            await_store(running)
            seen = running.log() + running.errors() + str(control_of(running).get("/metrics"))
            assert PASSWORD not in seen
            assert ESCAPED not in seen


@pytest.fixture
def check():
    """What --check says to a configuration with this in it, and its status."""
    place = Workplace()
    place.write("ws.php", ECHO)

    def checked(more):
        config = place.write("wsgate.toml", f'[[route]]\nscript = "ws.php"\n{more}\n')
        options = [twistd(), "wsgate", "--config", config, "--check"]
        done = subprocess.run(options, capture_output=True, text=True, check=False, cwd="/tmp")
        return done.returncode, done.stdout + done.stderr

    yield checked
    place.remove()


@pytest.mark.parametrize(
    ("more", "line"),
    [
        ('[stores]\nusers = "postgresql://u:hunter2@127.0.0.1:1/db"', ": good"),
        ('[stores]\nusers = "mysql://u:hunter2@127.0.0.1:1/db"', ": good"),
        ('[stores]\nusers = "mysql:/u:hunter2@127.0.0.1/db"', "either a host"),
        ('[stores]\nusers = "mysql://u:hunter2@h/db?ssl_ca=/nowhere"', "/nowhere"),
        (
            '[stores]\nusers = "postgresql://u:hunter2@h/db?sslmode=verify-full&sslrootcert=/no"',
            "cannot read /no",
        ),
        (
            '[stores.users]\nurl = "mysql://u@h/db"\npassword_file = "wsgate.toml.no"',
            "no such file",
        ),
        ('[stores]\nusers = "memcached://h"\n[hooks.c]\nuse = "sql"', "needs hooks.c.store"),
    ],
)
def test_check_finds_what_is_wrong_and_connects_to_nothing(check, more, line):
    _, said = check(more)
    assert line in said
    assert "hunter2" not in said


def test_a_query_that_cannot_be_is_found_by_check(check):
    more = (
        'hooks = ["c"]\n[stores]\nusers = "mysql://u@h/db"\n[hooks.c]\nuse = "sql"\n'
        'store = "users"\nquery = "select 1 where 1 = ?"'
    )
    status, said = check(more)
    assert status != 0
    assert "needs 1 values for its ?, and gets 0" in said


def test_all_kinds_of_stores_stand_side_by_side(postgresql, mariadb):
    with redis_server() as redis, memcached_server() as memcached:
        more = f'[stores.a]\nurl = "{redis.url}"\n[stores.b]\nurl = "{memcached.url}"\n'
        more += f'[stores.c]\nurl = "{mariadb.url}"\n'
        with started(postgresql.url, more=more) as running:
            names = ("a", "b", "c", "users")
            up = dict.fromkeys(names, "up")
            eventually(lambda: health(running)[1].get("stores") == up, 20, "all are up")
            redis.kill()
            memcached.kill()
            down = up | {"a": "down", "b": "down"}
            eventually(lambda: health(running)[1].get("stores") == down, 20, "two are down")
            # No reason to send clients elsewhere.
            assert health(running)[0] == 200
            os.kill(running.pid, signal.SIGTERM)
            assert running.process.wait(20) == 0


def test_the_hook_of_the_page_about_stores_works_as_written():
    page = (Path(__file__).parents[2] / "docs/stores.md").read_text()
    (hook,) = re.findall(r"^```python\n(.*?)^```$", page, re.M | re.S)
    with redis_server() as redis, memcached_server() as memcached:
        settings = f"""
            [stores]
            sessions = "{redis.url}"
            cache = "{memcached.url}"
            [[route]]
            script = "who.php"
            hooks = ["door:Door"]
        """
        redis.command("SET", "token:good", "Ada")
        scripts = {"who.php": WHO, "wsgate.toml": settings, "door.py": hook}
        with gateway(
            "--config={scripts}/wsgate.toml", ANY, scripts=scripts, script=None
        ) as running:
            eventually(lambda: running.log().count(" answers") >= 2, 20, "both are up")
            assert running.ask("", "/?token=good") == "nobody Ada"
            assert status_of(running, "/?token=bad") == 403
