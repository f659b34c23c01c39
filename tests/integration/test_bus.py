"""Three real gateways over a real redis-server: what one does reaches the clients of all."""

import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest
from websockets.exceptions import ConnectionClosed

from tests.integration.bus_of_gateways import closing_later, heard, node, nodes, nothing_more, tell
from tests.integration.gateway_process import eventually, free_port, twistd
from tests.integration.redis_server import redis_server

DAY = 24 * 3600 * 1000

# With a PHP-FPM elsewhere nobody looks for it.
SCRIPT = ("-s", "/srv/ws.php", "-f", "unix:/run/nowhere.sock")


@pytest.fixture(scope="module")
def redis():
    with redis_server() as server:
        yield server


@pytest.fixture(scope="module")
def three(redis):
    with nodes(3, "--bus", redis.url, "--set=gateway.bus_lease=3s") as found:
        yield found


@pytest.fixture
def clients():
    with closing_later() as keep:
        yield keep


def settled(three, channel, count):
    """Wait until the bus knows of `count` subscribers."""
    eventually(lambda: three[0].subscribers(channel) == count, 5, f"{count} in {channel}")


def test_what_php_publishes_on_one_node_reaches_clients_of_all(three, clients):
    found = [clients(one.client("sub php")) for one in three]
    settled(three, "php", 3)
    found[0].send("pub php hello")
    assert [heard(client) for client in found] == ["hello"] * 3


def test_a_publish_after_its_own_subscribe_is_heard_by_the_sender(three, clients):
    for number in range(20):
        client = clients(three[number % 3].client())
        client.send(f"both own{number}")
        assert heard(client) == f"own{number}"


def test_what_the_control_interface_publishes_reaches_all_and_is_counted(three, clients):
    found = [clients(one.client("sub control")) for one in three for _ in range(2)]
    settled(three, "control", 6)
    assert three[2].publish("control", "x") == 6
    assert [heard(client) for client in found] == ["x"] * 6
    one = tell(found[0], "id")
    status, told = three[1].request("POST", f"/channels/control?except={one}", "y")
    assert (status, told) == (200, {"delivered": 5})
    assert [heard(client) for client in found[1:]] == ["y"] * 5
    assert nothing_more(found[0])


def test_one_order_for_all_whoever_publishes(three, clients):
    found = [clients(one.client("sub order")) for one in three]
    settled(three, "order", 3)
    with ThreadPoolExecutor(3) as pool:
        for index, one in enumerate(three):
            pool.submit(lambda i=index, o=one: [o.publish("order", f"{i}-{n}") for n in range(50)])
    got = [[heard(client) for _ in range(150)] for client in found]
    assert got[0] == got[1] == got[2]
    assert len(set(got[0])) == 150


def test_a_connection_of_another_node_is_reached(three, clients):
    client = clients(three[1].client())
    path = f"/connections/{tell(client, 'id')}"
    assert three[0].request("POST", path, "hi") == (200, {"delivered": 1})
    assert heard(client) == "hi"
    status, told = three[2].request("GET", path)
    assert (status, told["channels"]) == (200, [])
    assert three[0].request("PUT", f"{path}/channels/put")[0] == 200
    settled(three, "put", 1)
    assert three[2].publish("put", "x") == 1
    assert heard(client) == "x"
    assert three[0].request("DELETE", f"{path}?code=4000&reason=out")[0] == 200
    with pytest.raises(ConnectionClosed) as closed:
        client.recv(timeout=10)
    assert closed.value.rcvd.code == 4000
    eventually(lambda: three[0].request("GET", path)[0] == 404, 5, "it is gone")
    assert three[0].request("POST", path, "hi")[0] == 404


def test_a_user_is_reached_on_all_nodes(three, clients):
    found = [clients(one.client("user ann")) for one in three[:2]]
    other = clients(three[2].client("user bob"))
    assert three[2].request("POST", "/users/ann", "hi") == (200, {"delivered": 2})
    assert [heard(client) for client in found] == ["hi", "hi"]
    assert nothing_more(other)
    assert three[2].request("DELETE", "/users/ann?code=4001") == (200, {"closed": 2})
    assert three[2].request("POST", "/users/nobody", "hi") == (200, {"delivered": 0})


def test_presence_is_that_of_all_nodes(three, clients):
    for one, user in zip(three, ("ann", "bob", "ann"), strict=True):
        clients(one.client(f"user {user}", "sub present"))
    settled(three, "present", 3)
    assert three[1].users("present") == ["ann", "bob"]


def test_a_message_of_many_bytes_and_a_binary_one_arrive_whole(three, clients):
    found = [clients(one.client("sub large")) for one in three[:2]]
    settled(three, "large", 2)
    text = "ä" * 30_000
    assert three[0].publish("large", text) == 2
    assert [heard(client) for client in found] == [text] * 2
    raw = bytes(range(256)) * 100
    assert three[2].publish("large", raw) == 2
    assert [client.recv(timeout=10) for client in found] == [raw] * 2


def test_a_channel_that_was_only_looked_into_leaves_nothing_in_redis(three, redis, clients):
    found = [clients(one.client("sub wish")) for one in three[:2]]
    settled(three, "wish", 2)
    for client in found:
        client.close()
    settled(three, "wish", 0)
    eventually(lambda: redis.command("KEYS", "*wish*") == "", 5, "no key is left")


def test_a_place_stays_while_somebody_is_there_and_a_day_longer(three, redis, clients):
    def kept(channel):
        return int(redis.command("PTTL", f"wsgate:at:{channel}"))

    three[0].publish("nobody", "x")
    assert DAY - 60_000 < kept("nobody") <= DAY
    one, two = (clients(node.client("sub kept")) for node in three[:2])
    settled(three, "kept", 2)
    assert three[0].publish("kept", "x") == 2
    assert kept("kept") == -1
    one.close()
    settled(three, "kept", 1)
    assert kept("kept") == -1
    two.close()
    settled(three, "kept", 0)
    assert DAY - 60_000 < kept("kept") <= DAY


def test_malformed_bytes_on_the_bus_are_dropped_and_counted(three, redis, clients):
    client = clients(three[0].client("sub bad"))
    settled(three, "bad", 1)
    before = three[0].figure("wsgate_bus_malformed_total")
    me = tell(client, "id")[:8]
    for topic in ("wsgate:channel:bad", f"wsgate:node:{me}"):
        redis.command("publish", topic, "nonsense")
    eventually(lambda: three[0].figure("wsgate_bus_malformed_total") >= before + 2, 5, "counted")
    assert three[1].publish("bad", "good") == 1
    assert heard(client) == "good"


def test_a_node_that_is_killed_takes_its_presence_with_it_within_its_lease(three, redis, clients):
    with node("--bus", redis.url, "--set=gateway.bus_lease=3s") as fourth:
        eventually(fourth.is_up, 10, "the bus is there")
        clients(three[0].client("user ann", "sub lease"))
        fourth.client("user bob", "sub lease")
        fourth.client("user bob", "sub lease")
        settled(three, "lease", 3)
        assert three[0].users("lease") == ["ann", "bob"]
        os.kill(fourth.gateway.pid, signal.SIGKILL)
        killed = time.monotonic()
        eventually(lambda: three[1].subscribers("lease") == 1, 6, "presence is gone")
        assert time.monotonic() - killed < 4, "the lease, and a second for a busy machine"
        assert three[1].users("lease") == ["ann"]


def test_a_node_that_stops_leaves_at_once(three, redis, clients):
    with node("--bus", redis.url, "--set=gateway.bus_lease=60s") as fourth:
        eventually(fourth.is_up, 10, "the bus is there")
        fourth.client("sub stops")
        settled(three, "stops", 1)
        three[0].publish("stops", "x")
        assert redis.command("PTTL", "wsgate:at:stops") == "-1"
        fourth.gateway.stop()
    eventually(lambda: three[0].subscribers("stops") == 0, 3, "presence is gone")
    assert 0 < int(redis.command("PTTL", "wsgate:at:stops")) <= DAY


def test_workers_may_share_a_bus_with_other_machines(three, redis, clients):
    with node("--workers", "2", "--bus", redis.url, workers=2) as other:
        eventually(lambda: other.control.get("/readyz")[0] == 200, 20, "the workers are ready")
        found = [clients(other.client("sub mixed")) for _ in range(4)]
        found.append(clients(three[0].client("sub mixed")))
        settled(three, "mixed", 5)
        assert other.publish("mixed", "x") == 5
        assert [heard(client) for client in found] == ["x"] * 5
        path = f"/connections/{tell(found[0], 'id')}"
        assert three[2].request("POST", path, "y") == (200, {"delivered": 1})


# -- Redis goes and comes back


@pytest.mark.parametrize("persistent", [False, True])
def test_clients_stay_and_deliveries_resume_when_redis_was_killed(persistent, clients):
    options = ("--set=limits.channel_history=10",) if persistent else ()
    with (
        redis_server(persistent=persistent) as redis,
        nodes(3, "--bus", redis.url, *options) as three,
    ):
        found = [clients(one.client("user ann", "sub room")) for one in three]
        settled(three, "room", 3)
        assert three[0].publish("room", "before") == 3
        redis.kill()
        eventually(lambda: not any(one.is_up() for one in three), 10, "noticed")
        late = three[2].client("sub room")
        clients(late)
        with ThreadPoolExecutor(1) as pool:
            # It waits for Redis, and is delivered once that is back.
            waiting = pool.submit(three[1].publish, "room", "meanwhile")
            redis.start()
            eventually(lambda: all(one.is_up() for one in three), 15, "all are back")
            assert waiting.result() >= 0
        settled(three, "room", 4)
        assert three[0].publish("room", "after") == 4
        for client in found:
            assert heard(client) == "before"
            assert "after" in messages_until(client, "after")
        assert three[0].request("POST", "/users/ann", "hi") == (200, {"delivered": 3})
        eventually(lambda: three[0].figure("wsgate_bus_connects_total") == 2)
        log = three[0].gateway.log()
        assert "is away: the connection was lost" in log
        assert log.count(f"the bus {redis.url} is there") == 2
        # Without its memory Redis cannot say what was missed; with it and a history none was.
        for one in three:
            gaps = partial(one.figure, "wsgate_bus_gaps_total")
            eventually(lambda gaps=gaps: (gaps() == 0) == persistent, 5, "gaps are counted")


def test_what_cannot_be_published_is_refused_with_503_and_counted(clients):
    with redis_server() as redis, nodes(1, "--bus", redis.url) as [one]:
        client = clients(one.client("sub room"))
        me = tell(client, "id")
        redis.kill()
        eventually(lambda: not one.is_up(), 10, "noticed")
        began = time.monotonic()
        assert one.publish("room", "x") == -503
        assert 2 < time.monotonic() - began < 5
        assert one.subscribers("room") == -503
        assert one.request("POST", f"/connections/{me}", "local") == (200, {"delivered": 1})
        assert heard(client) == "local"
        eventually(lambda: one.figure("wsgate_bus_not_published_total", "late") == 1)
        assert one.control.get("/readyz")[0] == 200
        assert tell(client, "echo still") == "still"


def test_more_than_may_wait_for_redis_is_refused_at_once():
    with redis_server() as redis:
        options = ("--bus", redis.url, "--set=limits.bus_buffer=1KiB")
        with nodes(1, *options) as [one], ThreadPoolExecutor(1) as pool:
            redis.kill()
            eventually(lambda: not one.is_up(), 10, "noticed")
            first = pool.submit(one.publish, "room", "x" * 2000)
            eventually(lambda: one.figure("wsgate_bus_waiting_bytes") > 2000, 5, "it waits")
            assert one.publish("room", "y") == -503
            eventually(lambda: one.figure("wsgate_bus_not_published_total", "full") == 1)
            assert first.result() == -503


def test_history_is_recovered_on_another_node(clients):
    options = ("--set=limits.channel_history=10",)
    with redis_server() as redis, nodes(3, "--bus", redis.url, *options) as three:
        client = three[0].client()
        client.send("sub room; recover")
        first = opening(client)
        assert first["recovered"] is None
        place = first["last"]
        settled(three, "room", 1)
        assert three[1].publish("room", "1") == 1
        assert json.loads(heard(client))["data"] == "1"
        client.close()
        settled(three, "room", 0)
        for text in ("2", "3"):
            three[2].publish("room", text)
        back = clients(three[1].client(path=f"/?last={place}"))
        back.send("sub room; recover")
        got = [json.loads(m) for m in messages(back, 5) if m != "ok"]
        assert got[0]["recovered"] is True
        assert [one["data"] for one in got[1:]] == ["1", "2", "3"]
        three[0].publish("room", "4")
        assert json.loads(heard(back))["data"] == "4"


def test_subscribers_with_recover_are_told_of_a_gap(clients):
    with redis_server() as redis, nodes(2, "--bus", redis.url) as two:
        client = clients(two[0].client())
        me = tell(client, "id")[:8]
        client.send("sub room; recover")
        opening(client)
        settled(two, "room", 1)
        os.kill(two[0].gateway.pid, signal.SIGSTOP)
        # Redis cuts off who does not read; here it is told to.
        for line in redis.command("client", "list").splitlines():
            if f"name=wsgate-{me} " in line:
                redis.command("client", "kill", "id", line.split()[0].removeprefix("id="))
        for text in ("1", "2", "3"):
            two[1].publish("room", text)
        os.kill(two[0].gateway.pid, signal.SIGCONT)
        told = json.loads(heard(client))
        assert told["recovered"] is False
        assert told["last"].endswith(":3")
        eventually(lambda: two[0].figure("wsgate_bus_missed_messages_total") == 3, 5, "counted")
        assert "3 messages of channel room were missed" in two[0].gateway.log()


def opening(client):
    """The first envelope; the script's answer comes before or after it."""
    first, second = messages(client, 2)
    return json.loads(second if first == "ok" else first)


def messages_until(client, last):
    got = [heard(client)]
    while got[-1] != last:
        got.append(heard(client))
    return got


def messages(client, count):
    return [heard(client) for _ in range(count)]


# -- how Redis is reached


def test_a_password_is_used_and_never_shown():
    with redis_server("--requirepass", "sesame") as redis:
        url = redis.url.replace("redis://", "redis://:sesame@")
        with nodes(1, "--bus", url) as [one]:
            assert one.publish("room", "x") == 0
            assert "sesame" not in one.gateway.log() + one.gateway.errors()
        with node("--bus", redis.url.replace("redis://", "redis://:guess@")) as wrong:
            log = wrong.gateway.log
            eventually(lambda: "it refuses us: WRONGPASS" in log(), 10, "the log says why")
            assert "guess" not in log() + wrong.gateway.errors()


def test_a_user_of_redis_may_be_confined_to_the_prefix():
    with redis_server() as redis:
        rules = ("on", ">sesame", "~site:*", "&site:*", "+@all", "-@dangerous")
        assert redis.command("acl", "setuser", "gateway", *rules) == "OK"
        url = redis.url.replace("redis://", "redis://gateway:sesame@")
        with nodes(2, "--bus", url, "--set=gateway.bus_prefix=site") as two:
            with two[0].client("user ann", "sub room") as client:
                eventually(lambda: two[1].subscribers("room") == 1)
                assert two[1].publish("room", "x") == 1
                assert heard(client) == "x"
                assert two[1].request("POST", "/users/ann", "y") == (200, {"delivered": 1})
            assert "NOPERM" not in two[0].gateway.log() + two[1].gateway.log()


def test_a_unix_socket_leads_to_redis(tmp_path):
    path = tmp_path / "redis.sock"
    with redis_server("--unixsocket", str(path)), nodes(1, "--bus", f"unix://{path}") as [one]:
        assert one.publish("room", "x") == 0


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tls")
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *subject),
            *("-keyout", folder / "key.pem", "-out", folder / "cert.pem"),
        ],
        check=True,
        capture_output=True,
    )
    return folder


def test_over_tls_the_certificate_is_verified(authority):
    port = free_port()
    options = ["--tls-port", str(port), "--port", "0", "--tls-auth-clients", "no"]
    for name, file in (("cert", "cert"), ("key", "key"), ("ca-cert", "cert")):
        options += [f"--tls-{name}-file", str(authority / f"{file}.pem")]
    with redis_server(*options):
        url = f"rediss://localhost:{port}?ssl_ca_certs={authority / 'cert.pem'}"
        with nodes(1, "--bus", url) as [one]:
            assert one.publish("room", "x") == 0
        for bad, why in (
            (f"rediss://localhost:{port}", "its certificate: it is signed by itself; name its"),
            (url.replace("localhost:", "127.0.0.1:"), "it is not for 127.0.0.1"),
        ):
            with node("--bus", bad) as one:
                log = one.gateway.log
                eventually(lambda log=log, why=why: why in log(), 10, why)
                assert not one.is_up()


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("redis://:sesame@h/x", "--bus redis:***@h/x: needs a number as its database"),
        (
            "rediss://:sesame@h?ssl_ca_certs=/nowhere.pem",
            "--bus rediss://h:6379: /nowhere.pem: No such file or directory",
        ),
    ],
)
def test_a_url_that_is_wrong_stops_the_start_with_one_line(url, why):
    command = [twistd(), "-n", "--pidfile=", "wsgate", *SCRIPT, "--bus", url]
    done = subprocess.run([*command, "--check"], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert why in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert "sesame" not in done.stderr + done.stdout


def test_without_the_client_the_start_says_what_to_install():
    program = (
        "import sys, importlib.util as u; find = u.find_spec\n"
        "u.find_spec = lambda name, *a: None if name == 'hiredis' else find(name, *a)\n"
        "from twisted.scripts.twistd import run\n"
        "sys.argv = ['twistd', '-n', '--pidfile=', 'wsgate', *sys.argv[1:]]; run()"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *SCRIPT, "--bus", "redis://:pw@h"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "pip install 'wsgate[redis]'" in done.stderr
    assert ":pw@" not in done.stderr
