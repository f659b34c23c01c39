"""docs/hooks.md does what it says: its files, as written, under a real PHP."""

import contextlib
import sqlite3

import pytest
from websockets.exceptions import InvalidStatus

from tests.integration.gateway_process import Workplace, gateway, twistd
from tests.pages import blocks, page

PAGE = page("hooks.md")
DOOR, GUEST, PATIENT, PLUGIN = blocks(PAGE, "python")
(PHP,) = blocks(PAGE, "php")
START, PASSING, PLUGGED = blocks(PAGE, "toml")
(COMMAND,) = blocks(PAGE, "sh")


@contextlib.contextmanager
def serving(folder, config, env=None, **modules):
    """A wsgate of `config` in a folder with the page's script and these modules."""
    for name, text in {"ws.php": PHP, "wsgate.toml": config}.items():
        (folder / name).write_text(text)
    for name, text in modules.items():
        (folder / f"{name}.py").write_text(text)
    with gateway(
        "--config",
        f"{folder}/wsgate.toml",
        "--set=limits.new_connections_per_address=0",
        script=None,
        env=env,
    ) as running:
        yield running


@contextlib.contextmanager
def public_folder():
    """One that PHP's user may read: every start of pytest closes its own to other users."""
    place = Workplace()
    try:
        yield place.scripts
    finally:
        place.remove()


@pytest.fixture
def folder():
    with public_folder() as made:
        yield made


@pytest.fixture(scope="module")
def door():
    with public_folder() as made, serving(made, START, door=DOOR) as running:
        yield running


GOOD = "/?key=open%20sesame&name=ann"


def test_the_command_is_the_one_that_is_run_here():
    assert COMMAND.split() == ["twistd", "-n", "wsgate", "--config", "wsgate.toml"]
    assert twistd().endswith("twistd")


def test_a_hook_answers_without_php(door):
    assert door.ask("ping", GOOD) == "pong"


def test_php_gets_the_rest_and_what_the_hook_tells_it(door):
    assert door.ask("hello", GOOD) == "ann says hello"


def test_a_client_that_the_hook_refuses_hears_why(door):
    with pytest.raises(InvalidStatus) as caught, door.connect("/?key=wrong"):
        pass
    assert caught.value.response.status_code == 403
    assert caught.value.response.body == b"This needs a key\n"


def config(use, **options):
    lines = [f'{name} = "{value}"' for name, value in options.items()]
    head = ["[hooks.mine]", f'use = "{use}"']
    return "\n".join([*head, *lines, "[[route]]", 'script = "ws.php"', 'hooks = ["mine"]'])


def test_a_database_in_a_thread(folder):
    with sqlite3.connect(folder / "book.db") as book:
        book.execute("create table guests (name text)")
        book.execute("insert into guests values ('ann')")
    settings = config("guest:Guest", file=f"{folder}/book.db")
    with serving(folder, settings, guest=GUEST) as running:
        with running.connect("/?name=ann") as client:
            client.send("hi")
            assert "hi" in client.recv(timeout=30)
        with pytest.raises(InvalidStatus), running.connect("/?name=bob"):
            pass


def test_an_answer_of_php_is_seen_and_changed(folder):
    with serving(folder, config("patient:Patient"), patient=PATIENT) as running:
        (folder / "ws.php").write_text("<?php echo 'php: ', file_get_contents('php://input');")
        assert running.ask("hello") == "PHP: HELLO"
        (folder / "ws.php").write_text("<?php http_response_code(500);")
        assert running.ask("hello") == "PHP is having a nap"


COUNTER = """
from wsgate.hooks import Hook

class Counter(Hook):
    def __init__(self, services):
        self.count = 0

    def on_message(self, connection, message):
        raise RuntimeError("broken")
"""


def test_a_failing_hook_is_passed_over_where_the_route_says_so(folder):
    with serving(folder, PASSING, door=COUNTER) as running:
        assert "hi" in running.ask("hi", "/news")
        assert "hook door:Counter failed at message" in running.log()
        assert "RuntimeError in line 9 of door.py" in running.log()
    with serving(folder, PASSING.replace('"pass"', '"refuse"'), door=COUNTER) as running:
        assert "not available, try again later" in running.ask("hi", "/news")


def test_a_plugin_is_found_by_its_name(folder):
    plugins = folder / "package/twisted/plugins"
    plugins.mkdir(parents=True)
    (plugins / "greeter.py").write_text(PLUGIN)
    env = {"PYTHONPATH": f"{folder}/package"}
    with serving(folder, PLUGGED, env) as running:
        assert running.ask("x", "/hello") == "ahoy"
