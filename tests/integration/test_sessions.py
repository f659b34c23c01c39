"""The hook `session` with sessions that a real PHP has saved: in files, Redis and memcached."""

import contextlib
import os
import signal
import subprocess
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.integration.gateway_process import eventually, gateway
from tests.integration.memcached_server import memcached_server
from tests.integration.php_sessions import HOLDING, ID, destroy, php_command, run, save
from tests.integration.redis_server import redis_server

TELL = """<?php
touch('{scripts}/ran-' . bin2hex(random_bytes(4)));
header('Content-Type: application/json');
$told = array_filter($_SERVER, fn($name) => str_starts_with($name, 'WSGATE_SESSION_')
    || $name === 'WSGATE_USER', ARRAY_FILTER_USE_KEY);
ksort($told);
echo json_encode($told);
"""

COOKIE = {"Cookie": f"other=1; PHPSESSID={ID}"}

CONFIG = """
[limits]
new_connections_per_address = 0
hook_timeout = "1s"
{stores}
[hooks.login]
use = "session"
{where}
required = ["user_id"]
user_field = "user_id"
fields = ["name", "cart.items", "object.id", "missing"]
{options}

[[route]]
path = "/"
script = "{scripts}/echo.php"
hooks = ["login"]
{route}

[pools.default]
max_in_flight = 2
"""

SESSION = "'user_id' => 42, 'name' => \"J\\u{f6}rg\", 'cart' => ['items' => 3], " + (
    "'object' => new ArrayObject(['id' => 7])"
)
TOLD = '{"WSGATE_SESSION_CART_ITEMS":"3","WSGATE_SESSION_NAME":"J\\u00f6rg","WSGATE_USER":"42"}'


class Kept:
    """Where PHP keeps sessions: for PHP, and for wsgate."""

    def __init__(self, handler, save_path, stores, where, server=None):
        self.handler = handler
        self.save_path = save_path
        self.stores = stores
        self.where = where
        self.server = server

    def save(self, session=SESSION, *options):
        save(session, self.save_path, *options, handler=self.handler)

    def destroy(self):
        destroy(self.save_path, handler=self.handler)

    @contextlib.contextmanager
    def gateway(self, options="", route=""):
        """A wsgate whose route only lets in who is logged in."""
        with gateway_with(self.stores, self.where, options, route) as running:
            yield running


@contextlib.contextmanager
def gateway_with(stores, where, options="", route=""):
    """A wsgate with a configuration file."""
    with contextlib.ExitStack() as stack:
        text = "{scripts}/wsgate.toml"
        filled = CONFIG.replace("{stores}", stores).replace("{where}", where)
        filled = filled.replace("{options}", options).replace("{route}", route)
        scripts = {"echo.php": TELL, "wsgate.toml": filled}
        options = ("--config", text)
        yield stack.enter_context(gateway(*options, scripts=scripts, script=None, ready=ready))


def ready(wsgate):
    """Whether it accepts, and has its store if there is one."""
    has_store = "[stores]" in Path(wsgate.script("wsgate.toml")).read_text()
    return wsgate.accepts() and (not has_store or "store sessions: " in wsgate.log())


def ran(wsgate):
    """How often PHP was asked."""
    return len(list(Path(wsgate.place.scripts).glob("ran-*")))


def refused(wsgate, headers=COOKIE):
    """The status with which a client is refused."""
    with pytest.raises(InvalidStatus) as caught:
        wsgate.connect(additional_headers=headers)
    return caught.value.response.status_code


@contextlib.contextmanager
def kept_in(kind, folder):
    """A place for sessions."""
    if kind == "files":
        yield Kept("files", str(folder), "", f'save_path = "{folder}"')
    elif kind == "redis":
        with redis_server() as redis:
            stores = f'[stores]\nsessions = "{redis.url}"\n'
            yield Kept(kind, f"tcp://127.0.0.1:{redis.port}", stores, 'store = "sessions"', redis)
    else:
        with memcached_server() as memcached:
            stores = f'[stores]\nsessions = "{memcached.url}"\n'
            path = f"127.0.0.1:{memcached.port}"
            where = 'store = "sessions"'
            if kind == "memcache":
                path, where = f"tcp://{path}", f'{where}\nprefix = ""'
            yield Kept(kind, path, stores, where, memcached)


@pytest.fixture(params=["files", "redis", "memcached"])
def kept(request, tmp_path):
    with kept_in(request.param, tmp_path) as place:
        yield place


@pytest.fixture
def in_files(tmp_path):
    with kept_in("files", tmp_path) as place:
        yield place


def test_only_who_is_logged_in_comes_in_and_php_is_told(kept):
    with kept.gateway() as wsgate:
        assert refused(wsgate, {}) == 403
        assert refused(wsgate) == 403
        kept.save("'cart' => []")
        assert refused(wsgate) == 403
        assert ran(wsgate) == 0
        kept.save()
        assert wsgate.ask("", additional_headers=COOKIE) == TOLD
        assert refused(wsgate, {"Cookie": f"PHPSESSID={ID[::-1]}"}) == 403
        kept.destroy()
        assert refused(wsgate) == 403
        assert ran(wsgate) == 1
        assert ID not in wsgate.log()


def test_who_logs_out_is_closed_and_the_others_stay(kept):
    with kept.gateway('check_interval = "1s"') as wsgate:
        kept.save()
        with wsgate.connect(additional_headers=COOKIE) as client:
            client.send("")
            assert client.recv(timeout=30) == TOLD
            kept.save(SESSION.replace("=> 3", "=> 4"))

            def is_told():
                client.send("")
                return '"WSGATE_SESSION_CART_ITEMS":"4"' in client.recv(timeout=30)

            assert eventually(is_told, 30, "the new value is told")
            kept.destroy()
            with pytest.raises(ConnectionClosed) as caught:
                client.recv(timeout=30)
            assert (caught.value.rcvd.code, caught.value.rcvd.reason) == (4401, "logged out")


WAYS_OUT = [
    "..%2f..%2f..%2f..%2f..%2fetc%2fpasswd",
    "../../../../../../etc/passwd0000",
    "../outside-the-folder-of-sessions",
    "/../../outside-the-folder-of-sessions",
    f"{ID}%00",
    f"{ID}/../sess_{ID}",
]


def test_a_cookie_is_no_way_out_of_the_folder(in_files, tmp_path):
    tmp_path.with_name("outside-the-folder-of-sessions").write_bytes(b"user_id|i:42;")
    (tmp_path / "sess_..").mkdir()
    in_files.save()
    with in_files.gateway() as wsgate:
        for cookie in WAYS_OUT:
            assert refused(wsgate, {"Cookie": f"PHPSESSID={cookie}"}) == 403


def test_sessions_of_the_extension_memcache_are_found(tmp_path):
    with kept_in("memcache", tmp_path) as kept, kept.gateway() as wsgate:
        assert refused(wsgate) == 403
        kept.save()
        assert wsgate.ask("", additional_headers=COOKIE) == TOLD


@pytest.mark.parametrize("handler", ["php_binary", "php_serialize"])
def test_other_handlers_of_php_are_read(in_files, handler):
    in_files.save(SESSION, f"session.serialize_handler={handler}")
    with in_files.gateway(f'serialize_handler = "{handler}"') as wsgate:
        assert wsgate.ask("", additional_headers=COOKIE) == TOLD


@pytest.mark.parametrize("handler", ["igbinary", "msgpack"])
def test_what_is_not_read_is_refused_and_the_log_names_the_setting(in_files, handler):
    in_files.save(SESSION, f"session.serialize_handler={handler}")
    with in_files.gateway() as wsgate:
        assert refused(wsgate) == 503
        assert ran(wsgate) == 0
        (line,) = [line for line in wsgate.log().splitlines() if "serialize_handler" in line]
        assert handler in line


def test_ids_with_a_comma_are_those_of_php(in_files):
    named = "a,b-" + ID
    save(SESSION, in_files.save_path, id=named)
    with in_files.gateway() as wsgate:
        for cookie in (named, named.replace(",", "%2C")):
            headers = {"Cookie": f"PHPSESSID={cookie}"}
            assert wsgate.ask("", additional_headers=headers) == TOLD


def test_of_several_cookies_the_first_counts_as_in_php(in_files):
    in_files.save()
    both = f"PHPSESSID={ID}; PHPSESSID={ID[::-1]}"
    program = "echo $_COOKIE['PHPSESSID'];"
    with in_files.gateway() as wsgate:
        assert wsgate.ask("", additional_headers={"Cookie": both}) == TOLD
        swapped = f"PHPSESSID={ID[::-1]}; PHPSESSID={ID}"
        assert refused(wsgate, {"Cookie": swapped}) == 403
    assert cgi(program, both) == ID
    assert cgi(program, swapped) == ID[::-1]


def cgi(program, cookies):
    """What a PHP says that was asked with these cookies."""
    script = f"<?php {program}"
    environment = {**os.environ, "HTTP_COOKIE": cookies}
    done = subprocess.run(
        ["php-cgi", "-q"], input=script, env=environment, capture_output=True, text=True, check=True
    )
    return done.stdout


def test_a_script_that_holds_the_session_holds_up_nobody(in_files):
    in_files.save()
    command = php_command(HOLDING % ID, in_files.save_path)
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holding:
        assert holding.stdout.read(4) == b"held"
        with in_files.gateway() as wsgate:
            assert wsgate.ask("", additional_headers=COOKIE) == TOLD
        holding.stdin.close()


# -- what goes wrong


@pytest.fixture(params=["redis", "memcached"])
def in_store(request, tmp_path):
    with kept_in(request.param, tmp_path) as place:
        yield place


def test_a_store_that_is_down_refuses_and_is_asked_again_when_it_is_back(in_store):
    in_store.save()
    with in_store.gateway() as wsgate:
        assert wsgate.ask("", additional_headers=COOKIE) == TOLD
        in_store.server.kill()
        assert eventually(lambda: refused(wsgate) == 503, 30, "the store is missed")
        assert ran(wsgate) == 1
        in_store.server.start()
        in_store.save()

        def is_back():
            with contextlib.suppress(InvalidStatus):
                return wsgate.ask("", additional_headers=COOKIE)

        assert eventually(is_back, 30, "the store is back") == TOLD


def test_a_store_that_is_stuck_refuses_in_time(in_store):
    in_store.save()
    with in_store.gateway() as wsgate:
        assert wsgate.ask("", additional_headers=COOKIE) == TOLD
        in_store.server.process.send_signal(signal.SIGSTOP)
        try:
            assert refused(wsgate) == 503
        finally:
            in_store.server.process.send_signal(signal.SIGCONT)


def test_with_pass_a_client_comes_in_without_anything_of_a_session(in_store):
    in_store.save()
    with in_store.gateway(route='on_hook_failure = "pass"') as wsgate:
        assert wsgate.ask("", additional_headers=COOKIE) == TOLD
        in_store.server.kill()

        def is_guest():
            return wsgate.ask("", additional_headers=COOKIE) == "[]"

        assert eventually(is_guest, 30, "it comes in as a guest")


GARBAGE = [b"user_id|i:42", b"\xff\xfe\xfd", b"user_id|O:8:", b"a:1:{" * 1000, b"x" * 2_000_000]


def test_garbage_in_a_session_refuses(in_files, tmp_path):
    with in_files.gateway() as wsgate:
        for garbage in GARBAGE:
            (tmp_path / f"sess_{ID}").write_bytes(garbage)
            assert refused(wsgate) == 503
        assert ran(wsgate) == 0


def test_with_pass_garbage_is_no_session(in_files, tmp_path):
    with in_files.gateway(route='on_hook_failure = "pass"') as wsgate:
        for garbage in GARBAGE:
            (tmp_path / f"sess_{ID}").write_bytes(garbage)
            assert wsgate.ask("", additional_headers=COOKIE) == "[]"


def test_what_is_no_session_in_redis_refuses(tmp_path):
    with kept_in("redis", tmp_path) as in_redis, in_redis.gateway() as wsgate:
        in_redis.server.command("LPUSH", f"PHPREDIS_SESSION:{ID}", "x")
        assert refused(wsgate) == 503


def test_a_symlink_in_the_folder_is_not_followed(in_files, tmp_path):
    other = tmp_path.with_name("forged")
    other.write_bytes(b"user_id|i:1;")
    (tmp_path / f"sess_{ID}").symlink_to(other)
    with in_files.gateway() as wsgate:
        assert refused(wsgate) == 503
        assert "no plain file" in wsgate.log()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make files of another user")
def test_where_everybody_may_write_only_the_named_user_is_believed(in_files, tmp_path):
    tmp_path.chmod(0o1777)
    in_files.save()
    file = tmp_path / f"sess_{ID}"
    with in_files.gateway('owner = "nobody"') as wsgate:
        assert refused(wsgate) == 503
        assert 'belongs to root, not to nobody: see its setting "owner"' in wsgate.log()
        os.chown(file, 65534, 65534)
        assert wsgate.ask("", additional_headers=COOKIE) == TOLD


def test_an_old_session_is_none(in_files, tmp_path):
    in_files.save()
    with in_files.gateway('max_age = "1h"') as wsgate:
        assert wsgate.ask("", additional_headers=COOKIE) == TOLD
        file = tmp_path / f"sess_{ID}"
        os.utime(file, (file.stat().st_atime, file.stat().st_mtime - 3610))
        assert refused(wsgate) == 403


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ('save_path = "/no/such/folder"', 'hooks.login.save_path = "/no/such/folder"'),
        ('store = "sessions"', 'hooks.login.store = "sessions"'),
        ('serialize_handler = "igbinary"', "session.serialize_handler"),
    ],
)
def test_what_cannot_work_is_one_line_at_the_start(options, says):
    starting = gateway_with("", options)
    with pytest.raises(AssertionError, match="wsgate ended") as caught:
        starting.__enter__()
    assert says in str(caught.value)


def test_php_itself_reads_what_was_saved(kept):
    kept.save()
    program = f"session_id('{ID}'); session_start(); echo $_SESSION['user_id'];"
    assert run(program, kept.save_path, handler=kept.handler) == "42"
