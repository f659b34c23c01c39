"""The dialect Pusher with its real clients: pusher-js in Node, Laravel Echo in Chromium, PHP.

The PHP is that of docs/pusher.md.
"""

import contextlib
import json
import shutil
import signal
import socket
import ssl
import subprocess
import time
from pathlib import Path

import pytest

from tests.integration.chromium import Chromium
from tests.integration.gateway_process import eventually, free_port, gateway
from tests.integration.php_fpm import php_fpm
from tests.integration.pusher_js.node import PusherJS, modules
from tests.integration.redis_server import redis_server
from tests.pages import blocks, page
from tests.pusher.test_api import request

PAGE = page("pusher.md")
KEY, SECRET = "my-key", "my-secret"

CONFIG = """
[gateway]
port = "tcp:{port}:interface=127.0.0.1"
[limits]
new_connections_per_address = 0
[[route]]
path = "/app/my-key"
dialect = "pusher"
app_id = "123456"
app_key = "my-key"
app_secret_file = "{folder}/secret"
client_events = true
subscription_counts = true
activity_timeout = "5s"
origins = ["*"]
"""


def php_of_docs(text):
    """The block of PHP in docs/pusher.md that holds `text`."""
    return next(block for block in blocks(PAGE, "php") if text in block)


class Application:
    """PHP's side: scripts in a folder, run by php, and served by it to pages."""

    def __init__(self, folder, port):
        self.folder = folder
        code = php_of_docs("function pusher_trigger")
        code = code.replace("http://127.0.0.1:8080", f"http://127.0.0.1:{port}")
        (folder / "pusher.php").write_text(code)
        auth = php_of_docs("pusher_auth($_POST['socket_id']")
        # Who it is: the test says so, instead of a session.
        who = "$_SESSION = ['user' => $_GET['user'] ?? null, 'name' => 'N'];"
        (folder / "auth.php").write_text(auth.replace("session_start();", who))
        (folder / "user.php").write_text(
            "<?php require 'pusher.php'; header('Content-Type: application/json');"
            "echo json_encode(pusher_user($_POST['socket_id'], ['id' => $_GET['user']]));"
        )
        self.port = free_port()

    @contextlib.contextmanager
    def serving(self):
        """Serve the folder as a web site."""
        process = subprocess.Popen(
            ["php", "-S", f"127.0.0.1:{self.port}", "-t", str(self.folder)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=self.folder,
        )
        try:
            eventually(self._answers, 10, "php -S")
            yield self
        finally:
            process.terminate()
            process.wait()

    def _answers(self):
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def run(self, code):
        """What PHP prints."""
        program = f"require '{self.folder}/pusher.php'; {code}"
        done = subprocess.run(
            ["php", "-d", "display_errors=stderr", "-r", program],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        assert done.returncode == 0, done.stderr + done.stdout
        return done.stdout

    def ask(self, method, path, body="[]", query="[]"):
        """What the HTTP API answers."""
        return json.loads(
            self.run(f"echo json_encode(pusher('{method}', '{path}', {body}, {query}));")
        )

    def trigger(self, channel, event, data, socket_id=None):
        """Send an event."""
        text = json.dumps(json.dumps(data))
        self.run(
            f"pusher_trigger(['{channel}'], '{event}', json_decode({text}), "
            f"{json.dumps(socket_id)});"
        )

    def authorization(self, user):
        """Options of pusher-js for a user."""
        base = f"http://127.0.0.1:{self.port}"
        return {
            "channelAuthorization": {"endpoint": f"{base}/auth.php?user={user}"},
            "userAuthentication": {"endpoint": f"{base}/user.php?user={user}"},
        }


def secret(folder):
    path = folder / "secret"
    path.write_text(SECRET + "\n")
    path.chmod(0o644)
    return path


@contextlib.contextmanager
def serving(folder, more="", gateway_more="", scheme="tcp", **options):
    """A gateway with the application of the docs, and more lines of configuration."""
    secret(folder)
    port = free_port()
    config = folder / "wsgate.toml"
    text = CONFIG.replace("{port}", str(port)).replace("{folder}", str(folder))
    text = text.replace('"tcp:', f'"{scheme}:')
    config.write_text(text.replace("[gateway]\n", "[gateway]\n" + gateway_more) + more)
    with gateway(
        f"--config={config}", script=None, port=None, **{"ready": _ready(port), **options}
    ) as running:
        running.port = port
        yield running


def _ready(port):
    def ready(running):
        running.port = port
        return running.accepts()

    return ready


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("pusher")


@pytest.fixture(scope="module")
def running(folder):
    with serving(folder) as running:
        yield running


@pytest.fixture(scope="module")
def application(folder, running):
    with Application(folder, running.port).serving() as application:
        yield application


@pytest.fixture
def js():
    with PusherJS() as js:
        yield js


def test_what_php_sends_reaches_who_subscribed_but_for_the_sender(running, application, js):
    socket_id = js.connect("ann", KEY, running.port)
    js.connect("bob", KEY, running.port)
    for client in ("ann", "bob"):
        js.subscribe(client, "orders")
    assert js.wait("ann", "orders", "pusher:subscription_count") == {"subscription_count": 2}
    data = {"id": 7, "text": "Grüße “世界” 👋"}
    application.trigger("orders", "created", data)
    assert js.wait("ann", "orders", "created") == data
    assert js.wait("bob", "orders", "created") == data
    application.trigger("orders", "changed", 1, socket_id)
    application.trigger("orders", "last", 2)
    assert js.wait("bob", "orders", "changed") == 1
    assert js.wait("ann", "orders", "last") == 2
    assert "changed" not in [event for event, _ in js.got("ann", "orders")]


def test_private_channels_are_for_those_whom_php_lets_in(running, application, js):
    js.connect("ann", KEY, running.port, **application.authorization("1"))
    js.subscribe("ann", "private-a")
    application.trigger("private-a", "e", "secret")
    assert js.wait("ann", "private-a", "e") == "secret"
    js.connect("stranger", KEY, running.port, **application.authorization(""))
    forged = {"customHandler": None, "endpoint": f"http://127.0.0.1:{application.port}/none"}
    js.connect("forger", KEY, running.port, channelAuthorization=forged)
    js.do("subscribe", "forger", channel="private-a")
    assert js.wait("forger", "private-a", "pusher:subscription_error")


def test_members_of_a_presence_channel_see_each_other_come_and_go(running, application, js):
    for client, user in (("ann", "1"), ("bob", "2")):
        js.connect(client, KEY, running.port, **application.authorization(user))
    js.subscribe("ann", "presence-room")
    js.do("subscribe", "bob", channel="presence-room")
    assert js.wait("ann", "presence-room", "pusher:member_added") == {
        "id": "2",
        "info": {"name": "N"},
    }
    js.wait("bob", "presence-room", "pusher:subscription_succeeded")
    js.do("members", "bob", channel="presence-room")
    assert js.wait("bob", "presence-room", "members") == {
        "count": 2,
        "me": "2",
        "all": {"1": {"name": "N"}, "2": {"name": "N"}},
    }
    assert application.ask("GET", "/channels/presence-room/users") == {
        "users": [{"id": "1"}, {"id": "2"}]
    }
    asked = application.ask("GET", "/channels", query="['info' => 'user_count']")
    assert asked["channels"]["presence-room"] == {"subscription_count": 2, "user_count": 2}
    js.do("trigger", "bob", channel="presence-room", event="client-typing", data={"on": True})
    assert js.wait("ann", "presence-room", "client-typing") == {"on": True}
    js.do("disconnect", "bob")
    assert js.wait("ann", "presence-room", "pusher:member_removed")["id"] == "2"


def test_a_user_that_signed_in_gets_events_and_can_be_thrown_out(running, application, js):
    js.connect("ann", KEY, running.port, **application.authorization("42"))
    js.do("signin", "ann")
    js.wait("ann", "user", "signed in")
    application.trigger("#server-to-user-42", "hello", {"you": 42})
    assert js.wait("ann", "user", "hello") == {"you": 42}
    assert application.ask("POST", "/users/42/terminate_connections") == []
    error = js.wait("ann", "connection", "error")
    assert error["data"]["code"] == 4009
    js.wait("ann", "connection", "disconnected")


def test_who_comes_later_to_a_cache_channel_gets_its_last_event(running, application, js):
    js.connect("ann", KEY, running.port)
    js.subscribe("ann", "cache-news")
    js.wait("ann", "cache-news", "pusher:cache_miss")
    application.trigger("cache-news", "last", [1, 2])
    js.connect("bob", KEY, running.port)
    js.subscribe("bob", "cache-news")
    assert js.wait("bob", "cache-news", "last") == [1, 2]


def test_an_unknown_key_is_an_error_that_pusher_js_understands(running, js):
    js.do(
        "connect",
        "ann",
        key="other",
        options={
            "cluster": "",
            "wsHost": "127.0.0.1",
            "wsPort": running.port,
            "forceTLS": False,
            "enabledTransports": ["ws"],
        },
    )
    assert js.wait("ann", "connection", "error")["error"]["data"]["code"] == 4001
    js.wait("ann", "connection", "disconnected")


def test_a_silent_connection_stays_by_the_protocols_own_pings(running, application, js):
    js.connect("ann", KEY, running.port, activityTimeout=1000, pongTimeout=1000)
    js.subscribe("ann", "quiet")
    for _ in range(3):
        js.wait("ann", "raw", "pusher:pong")
    application.trigger("quiet", "e", 1)
    assert js.wait("ann", "quiet", "e") == 1
    assert "connecting" not in [event for event, _ in js.got("ann", "connection")[1:]]


def test_pusher_js_comes_back_after_a_restart(folder, js, tmp_path):
    with serving(tmp_path) as first:
        application = Application(tmp_path, first.port)
        js.connect("ann", KEY, first.port)
        js.subscribe("ann", "orders")
        assert first.stop() == 0
        js.wait("ann", "connection", "connecting")
        config = tmp_path / "wsgate.toml"
        with gateway(
            f"--config={config}", script=None, port=None, ready=_ready(first.port)
        ) as second:
            second.port = first.port
            js.wait("ann", "connection", "connected")
            js.wait("ann", "orders", "pusher:subscription_succeeded")
            application.trigger("orders", "created", 1)
            assert js.wait("ann", "orders", "created") == 1


WEBHOOK = """<?php
$body = file_get_contents('php://input');
$good = hash_equals(hash_hmac('sha256', $body, 'my-secret'), $_SERVER['HTTP_X_PUSHER_SIGNATURE']);
$log = __DIR__ . '/webhooks';
if (!is_file($log)) { touch($log); http_response_code(500); exit; }
file_put_contents($log, json_encode([$good, $_SERVER['HTTP_X_PUSHER_KEY'],
    $_SERVER['REQUEST_URI'], $_SERVER['CONTENT_TYPE'], json_decode($body)]) . "\\n", FILE_APPEND);
"""


def test_webhooks_reach_a_script_of_php_fpm_signed_and_again_if_it_fails(js, tmp_path):
    with php_fpm(workers=2) as fpm:
        script = fpm.write_script("webhook.php", WEBHOOK)
        Path(script).parent.chmod(0o777)
        more = (
            f'script = "{script}"\nwebhook_uri = "/pusher/webhook"\npool = "fpm"\n'
            'webhooks = ["channels", "members", "client_events", "cache_misses"]\n'
            f'[pools.fpm]\nfastcgi = "{fpm.endpoint}"\n'
        )
        with (
            serving(tmp_path, more) as running,
            Application(tmp_path, running.port).serving() as application,
        ):
            js.connect("ann", KEY, running.port, **application.authorization("1"))
            js.subscribe("ann", "presence-a")
            js.subscribe("ann", "cache-b")
            js.do("trigger", "ann", channel="presence-a", event="client-x", data={"y": 1})
            # pusher-js sends in its next turn.
            js.subscribe("ann", "sent")
            js.do("disconnect", "ann")
            log = Path(script).parent / "webhooks"
            wanted = {
                *("channel_occupied", "member_added", "cache_miss", "client_event"),
                *("member_removed", "channel_vacated"),
            }

            def told():
                if not log.is_file():
                    return None
                calls = [json.loads(line) for line in log.read_text().splitlines()]
                events = [event for call in calls for event in call[4]["events"]]
                return wanted <= {event["name"] for event in events} and (calls, events)

            calls, events = eventually(told, 20, "all webhooks")
    assert {tuple(call[:4]) for call in calls} == {
        (True, KEY, "/pusher/webhook", "application/json")
    }
    by_name = {event["name"]: event for event in events}
    assert by_name["member_added"] == {
        "name": "member_added",
        "channel": "presence-a",
        "user_id": "1",
    }
    assert json.loads(by_name["client_event"]["data"]) == {"y": 1}
    # The first call was answered with 500, and its events came again.
    assert [event["name"] for event in events].count("member_added") == 1


ECHO_PAGE = """<!doctype html><title>Echo</title><link rel=icon href=data:,><pre id=log></pre>
<script src=pusher.min.js></script><script src=echo.iife.js></script>
<script>
const show = (text) => { document.getElementById('log').textContent += text + '\\n'; };
const user = new URLSearchParams(location.search).get('user');
const echo = new Echo.default({
  broadcaster: 'reverb', key: 'my-key', wsHost: '127.0.0.1', wsPort: PORT, forceTLS: false,
  enabledTransports: ['ws', 'wss'], authEndpoint: '/auth.php?user=' + user,
});
const room = echo.join('room')
  .here((users) => show('here ' + users.length))
  .joining((who) => show('joining ' + who.name))
  .leaving((who) => show('leaving ' + who.name))
  .listen('.created', (data) => show('created ' + data.id))
  .listenForWhisper('typing', (data) => show('typing ' + data.who));
echo.channel('orders').listen('OrderShipped', (data) => show('shipped ' + data.id));
</script>"""


def test_laravel_echo_in_two_browsers(running, application, folder):
    (folder / "echo.html").write_text(ECHO_PAGE.replace("PORT", str(running.port)))
    shutil.copy(modules() / "pusher-js/dist/web/pusher.min.js", folder)
    shutil.copy(modules() / "laravel-echo/dist/echo.iife.js", folder)
    url = f"http://127.0.0.1:{application.port}/echo.html?user="
    with Chromium() as ann:
        ann.open(url + "1")
        ann.wait_text("log", "here 1")
        with Chromium() as bob:
            bob.open(url + "2")
            bob.wait_text("log", "here 2")
            ann.wait_text("log", "joining N")
            bob.run("room.whisper('typing', {who: 'bob'})")
            ann.wait_text("log", "typing bob")
            # As Laravel's broadcaster names them.
            application.trigger("orders", "App\\\\Events\\\\OrderShipped", {"id": 7})
            application.trigger(
                "presence-room", "created", {"id": 8}, ann.run("return echo.socketId()")
            )
            for browser in (ann, bob):
                browser.wait_text("log", "shipped 7")
            bob.wait_text("log", "created 8")
            bob.run("echo.leave('room')")
            ann.wait_text("log", "leaving N")
            assert "created" not in ann.text("log")
            assert bob.console() == []
        assert ann.console() == []


def test_two_gateways_over_redis_are_one_application(js, tmp_path_factory):
    folders = [tmp_path_factory.mktemp("node") for _ in range(2)]
    with contextlib.ExitStack() as stack:
        redis = stack.enter_context(redis_server())
        one, two = (
            stack.enter_context(serving(folder, gateway_more=f'bus = "{redis.url}"\n'))
            for folder in folders
        )
        application = stack.enter_context(Application(folders[0], one.port).serving())
        # They meet within half a second.
        for client, user, running in (("ann", "1", one), ("bob", "2", two)):
            options = application.authorization(user)
            socket_id = js.connect(client, KEY, running.port, **options)
            js.subscribe(client, "presence-room")
            js.do("signin", client)
            js.wait(client, "user", "signed in")

        def both():
            users = application.ask("GET", "/channels/presence-room/users")["users"]
            return sorted(user["id"] for user in users) == ["1", "2"]

        eventually(both, 20, "both members on both nodes")
        assert application.ask("GET", "/channels")["channels"] == {
            "presence-room": {"subscription_count": 2}
        }
        application.trigger("presence-room", "not-for-bob", 1, socket_id)
        application.trigger("presence-room", "for-all", 2)
        assert js.wait("ann", "presence-room", "not-for-bob") == 1
        assert js.wait("bob", "presence-room", "for-all") == 2
        assert "not-for-bob" not in [event for event, _ in js.got("bob", "presence-room")]
        js.do("trigger", "ann", channel="presence-room", event="client-x", data={"y": 1})
        assert js.wait("bob", "presence-room", "client-x") == {"y": 1}
        application.trigger("#server-to-user-2", "hello", 3)
        assert js.wait("bob", "user", "hello") == 3
        application.ask("POST", "/users/2/terminate_connections")
        assert js.wait("bob", "connection", "error")["data"]["code"] == 4009
        assert js.wait("ann", "presence-room", "pusher:member_removed")["id"] == "2"


def test_after_a_reload_the_application_has_its_new_secret_and_its_clients(js, tmp_path):
    with serving(tmp_path) as running:
        application = Application(tmp_path, running.port)
        js.connect("ann", KEY, running.port)
        js.subscribe("ann", "orders")
        (tmp_path / "secret").write_text("another-secret\n")
        running.process.send_signal(signal.SIGHUP)

        def is_taken():
            with pytest.raises(AssertionError, match="Invalid signature"):
                application.trigger("orders", "old", 1)
            return True

        eventually(lambda: "settings" in running.log() and is_taken(), 10, "the new secret")
        code = (tmp_path / "pusher.php").read_text()
        (tmp_path / "pusher.php").write_text(code.replace(SECRET, "another-secret"))
        application.trigger("orders", "new", 2)
        assert js.wait("ann", "orders", "new") == 2
        assert "disconnected" not in [event for event, _ in js.got("ann", "connection")]


def test_over_tls_clients_and_application_share_a_port(tmp_path):
    with (
        serving(tmp_path, gateway_more="self_signed = true\n", scheme="tls") as running,
        PusherJS(NODE_TLS_REJECT_UNAUTHORIZED="0") as js,
    ):
        js.connect("ann", KEY, running.port, forceTLS=True, wssPort=running.port)
        js.subscribe("ann", "orders")
        body = json.dumps({"name": "e", "data": "1", "channel": "orders"}).encode()
        signed = request(
            "POST",
            "/apps/123456/events",
            body,
            now=int(time.time()),
            secret=SECRET.encode(),
            key=KEY,
        )
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        with (
            socket.create_connection(("127.0.0.1", running.port), 10) as plain,
            context.wrap_socket(plain) as client,
        ):
            for _ in range(2):
                client.sendall(signed)
                assert client.recv(9).startswith(b"HTTP/1.1 ")
                assert client.recv(65536).startswith(b"200 OK\r\n")
        assert js.wait("ann", "orders", "e") == 1


def test_two_workers_are_one_application(js, tmp_path_factory):
    folder = tmp_path_factory.mktemp("workers")
    names = [f"client{number}" for number in range(8)]
    with (
        serving(folder, gateway_more="workers = 2\n") as running,
        Application(folder, running.port).serving() as application,
    ):
        for name in names:
            js.connect(name, KEY, running.port, **application.authorization(name))
            js.subscribe(name, "presence-room")

        def all_are_seen():
            users = application.ask("GET", "/channels/presence-room/users")["users"]
            channels = application.ask("GET", "/channels")["channels"]
            # PHP has no other way to show an empty object.
            counts = channels or {"presence-room": {"subscription_count": 0}}
            return len(users) == counts["presence-room"]["subscription_count"] == len(names)

        # By each worker: whichever answers.
        for _ in range(4):
            eventually(all_are_seen, 20, "all members")
        for number in range(5):
            application.trigger("presence-room", "e", number)
        for name in names:
            assert [js.wait(name, "presence-room", "e") for _ in range(5)] == list(range(5))
        js.do("disconnect", names[0])
        for name in names[1:]:
            removed = js.wait(name, "presence-room", "pusher:member_removed")
            assert removed["id"] == names[0]
