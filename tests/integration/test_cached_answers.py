"""Cached answers with real PHP, real stores and several processes; a file counts PHP's runs."""

import contextlib
import json
import socket
from collections import Counter

import pytest

from tests.integration import memcached_server as memcached
from tests.integration import redis_server as redis
from tests.integration.crowds import LIFTED, Watched, watch
from tests.integration.gateway_process import eventually, gateway
from tests.integration.raw_client import RawClient
from tests.integration.test_control import UnixConnection
from tests.integration.websocket_client import connect

PHP = """<?php
$said = file_get_contents('php://input');
// One byte for each run; appends of one byte never mix.
file_put_contents('{scripts}/runs', '.', FILE_APPEND);
[$wait, $cache, $vary, $status] = explode('|', $said) + ['', '', '', ''];
usleep(1000 * (int) $wait);
if ($status === 'warn') error_log('something is odd');
elseif (is_file('{scripts}/broken')) http_response_code(500);
elseif ($status) http_response_code((int) $status);
if ($cache) header("Cache-Control: $cache");
if ($vary) header("Vary: $vary");
header('Content-Type: text/plain');
echo uniqid('', true);
"""
HOOK = "--set=route.hooks=cache"
CONTROL = "--control=unix:{folder}/control.sock"


@contextlib.contextmanager
def cached(*options, **more):
    with gateway(HOOK, *options, script="ask.php", scripts={"ask.php": PHP}, **more) as running:
        running.ask_php()
        forget_runs(running)
        yield running


def runs(running):
    """How often PHP has run since."""
    path = running.place.scripts / "runs"
    return path.stat().st_size if path.exists() else 0


def forget_runs(running):
    (running.place.scripts / "runs").unlink(missing_ok=True)


def control(running, method, path):
    """Status and body of what the control interface answers."""
    connection = UnixConnection(str(running.place.folder / "control.sock"))
    try:
        connection.request(method, path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def outcomes(running):
    """What the hook has counted."""
    found = Counter()
    for line in control(running, "GET", "/metrics")[1].splitlines():
        name, _, value = line.rpartition(" ")
        if name.startswith('wsgate_hook_outcomes_total{hook="cache",'):
            found[name.split('outcome="')[1].split('"')[0]] += int(float(value))
    return found


@pytest.fixture(scope="module")
def running():
    with cached(CONTROL) as found:
        yield found


def test_a_public_answer_is_given_to_another_connection_without_php(running):
    forget_runs(running)
    message = "0|public, max-age=60||"
    assert running.ask(message) == running.ask(message)
    assert runs(running) == 1
    assert running.ask(message.encode()) != running.ask(message)
    assert runs(running) == 2


@pytest.mark.parametrize(
    "message",
    [
        "0||one|",
        "0|max-age=60|one|",
        "0|private, max-age=60||",
        "0|public, max-age=60|*|",
        "0|public, max-age=60||404",
        "0|public, max-age=60||warn",
    ],
)
def test_what_is_not_for_all_runs_php_each_time(running, message):
    forget_runs(running)
    assert running.ask(message) != running.ask(message)
    assert runs(running) == 2


def test_cookies_keep_answers_apart(running):
    forget_runs(running)
    message = "1|public, max-age=60|Cookie|"
    one, other = ({"additional_headers": {"Cookie": f"id={n}"}} for n in (1, 2))
    first = running.ask(message, **one)
    assert running.ask(message, **other) != first
    assert running.ask(message, **one) == first
    assert running.ask(message) != first
    assert runs(running) == 3


@pytest.mark.slow
def test_a_thousand_equal_messages_at_once_start_php_once():
    with cached(CONTROL, *LIFTED) as running, contextlib.ExitStack() as stack:
        crowd = [Watched(stack.enter_context(RawClient(running.port))) for _ in range(1000)]
        message = b"1500|public, max-age=600||"
        for watched in crowd:
            watched.client.socket.sendall(watched.client.frame(1, message))

        def all_have_answers():
            watch(crowd, 0.2)
            return all(watched.messages for watched in crowd)

        eventually(all_have_answers, 60, "all have an answer")
        assert len({watched.messages[0] for watched in crowd}) == 1
        assert runs(running) == 1
        assert sum(outcomes(running)[word] for word in ("missed", "coalesced", "hit")) == 1001


@pytest.mark.slow
def test_a_thousand_messages_at_once_with_personal_answers_run_once_each_and_none_twice():
    with cached(*LIFTED) as running, contextlib.ExitStack() as stack:
        crowd = [Watched(stack.enter_context(RawClient(running.port))) for _ in range(200)]
        for watched in crowd:
            watched.client.socket.sendall(watched.client.frame(1, b"0|private||"))

        def all_have_answers():
            watch(crowd, 0.2)
            return all(watched.messages for watched in crowd)

        eventually(all_have_answers, 60, "all have an answer")
        assert len({watched.messages[0] for watched in crowd}) == 200
        assert runs(running) == 200


def test_the_client_that_asked_leaves_and_the_others_get_its_answer(running):
    forget_runs(running)
    message = "700|public, max-age=60||"
    with running.connect() as leader, running.connect() as follower:
        leader.send(message)
        eventually(lambda: runs(running) == 1, 10, "PHP works")
        follower.send(message)
        leader.close()
        assert follower.recv(timeout=30) == running.ask(message)
    assert runs(running) == 1


def test_php_that_fails_is_asked_twice_for_all_and_each_error_has_its_own_id(running):
    forget_runs(running)
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(running.connect()) for _ in range(5)]
        for client in clients:
            client.send("300|public, max-age=60||500")
        errors = [json.loads(client.recv(timeout=30))["error"] for client in clients]
    assert {error["status"] for error in errors} == {500}
    assert {error["reason"] for error in errors} == {"the script failed"}
    assert len({error["message_id"] for error in errors}) == 5
    assert runs(running) == 2


def test_an_old_answer_comes_while_php_fails(running):
    message = "2|public, max-age=0, stale-if-error=600||"
    broken = running.place.scripts / "broken"
    first = running.ask(message)
    broken.touch()
    try:
        assert running.ask(message) == first
        assert running.ask(message) == first
    finally:
        broken.unlink()


def test_an_old_answer_comes_at_once_and_a_new_one_after_it(running):
    message = "3|public, max-age=0, stale-while-revalidate=600||"
    first = running.ask(message)
    forget_runs(running)
    assert running.ask(message) == first
    eventually(lambda: runs(running) == 1, 10, "a new answer is asked for")
    eventually(lambda: running.ask(message) != first, 10, "the new answer is given")


def purge(running, path="/cache"):
    status, body = control(running, "DELETE", path)
    return status, json.loads(body)


def await_listeners(running, number):
    """Return once so many processes hear of purges; what is for no route of theirs does nothing."""
    eventually(
        lambda: purge(running, "/cache?route=/other") == (200, {"reached": number}),
        20,
        f"{number} processes hear of purges",
    )


def test_what_is_in_memory_is_in_the_metrics(running):
    running.ask("5|public, max-age=600||")
    text = control(running, "GET", "/metrics")[1]
    for figure in ("bytes", "entries"):
        line = f'wsgate_hook_figures{{figure="{figure}",hook="cache"}} '
        assert float(text.partition(line)[2].split()[0]) > 0


def test_a_purge_makes_php_be_asked_again(running):
    message = "4|public, max-age=600||"
    first = running.ask(message)
    assert purge(running, "/cache?route=/other") == (200, {"reached": 1})
    assert running.ask(message) == first
    assert purge(running, "/cache?route=/") == (200, {"reached": 1})
    second = running.ask(message)
    assert second != first
    purge(running)
    assert running.ask(message) not in (first, second)


@pytest.mark.slow
def test_a_purge_reaches_all_workers():
    with cached(CONTROL, "--workers=2", "--set=limits.new_connections_per_address=0") as running:
        await_listeners(running, 2)
        message = "0|public, max-age=600||"
        before = {running.ask(message) for _ in range(30)}
        assert len(before) <= 2
        status, said = purge(running)
        assert status == 200
        assert said == {"reached": 2}
        # They were told; each acts on it in its next turn.
        eventually(lambda: outcomes(running)["purged"] == 2, 10, "both have purged")
        after = {running.ask(message) for _ in range(30)}
        assert not before & after
        counted = eventually(
            lambda: found if (found := outcomes(running))["hit"] >= 56 else None,
            10,
            "both workers' figures are there",
        )
        assert counted["purged"] == 2


@contextlib.contextmanager
def over_redis(*last, number=3):
    """A real redis-server, and gateways that have found each other over it; `last` is for one."""
    with redis.redis_server() as bus, contextlib.ExitStack() as stack:
        options = [[]] * (number - 1) + [last]
        found = [
            stack.enter_context(cached(CONTROL, f"--bus={bus.url}", *more)) for more in options
        ]
        for one in found:
            eventually(lambda one=one: bus_is_up(one), 20, "the bus is there")
        yield bus, found


def bus_is_up(running):
    return "\nwsgate_bus_up 1.0\n" in control(running, "GET", "/metrics")[1]


@pytest.mark.slow
def test_a_purge_on_one_gateway_holds_for_all_that_redis_connects():
    prices = "0|public, max-age=600||"
    with over_redis("--workers=2") as (_, found):
        one, other, workers = found
        await_listeners(one, 4)
        before = [{running.ask(prices) for _ in range(20)} for running in found]
        assert [len(answers) for answers in before[:2]] == [1, 1]
        assert [runs(running) for running in (one, other)] == [1, 1]
        # What is for no route of theirs reaches them and does nothing.
        assert purge(one, "/cache?route=/other") == (200, {"reached": 4})
        assert {other.ask(prices)} == before[1]
        assert purge(one, "/cache?route=/") == (200, {"reached": 4})
        # They were told; each acts on it when it comes to it.
        for running, processes in ((one, 1), (other, 1), (workers, 2)):
            eventually(
                lambda r=running, n=processes: outcomes(r)["purged"] == n, 10, "all have purged"
            )
        after = [{running.ask(prices) for _ in range(20)} for running in found]
        assert not set.union(*before) & set.union(*after)
        # PHP was asked once more for all those questions, and what it said is kept again.
        assert [runs(running) for running in (one, other)] == [2, 2]
        assert runs(workers) <= 4
        # The one with workers has the word of all as well.
        assert purge(workers) == (200, {"reached": 4})
        eventually(lambda: outcomes(one)["purged"] == 2, 10, "it has purged again")
        assert one.ask(prices) not in set.union(*before, *after)


@pytest.mark.slow
def test_what_may_have_been_purged_while_redis_was_away_is_asked_again():
    message = "0|public, max-age=600||"
    with over_redis(number=2) as (bus, (one, other)):
        before = {one.ask(message), other.ask(message)}
        bus.kill()
        for running in (one, other):
            eventually(lambda r=running: not bus_is_up(r), 20, "the bus is away")
        # What is known is still given.
        assert other.ask(message) in before
        assert purge(one)[0] == 503
        bus.start()
        for running in (one, other):
            eventually(lambda r=running: bus_is_up(r), 60, "the bus is back")
            eventually(lambda r=running: r.ask(message) not in before, 20, "PHP is asked again")


# -- stores


@pytest.fixture(params=["redis", "memcached"])
def server(request):
    return request.getfixturevalue(f"{request.param}_server")


@pytest.fixture
def redis_server():
    with redis.redis_server() as found:
        yield found


@pytest.fixture
def memcached_server():
    with memcached.memcached_server() as found:
        yield found


def shared(server, *options):
    return cached(
        CONTROL,
        f"--set=stores.answers.url={server.url}",
        "--set=hooks.cache.store=answers",
        *options,
    )


def store_is_up(running):
    return json.loads(control(running, "GET", "/readyz")[1])["stores"] == {"answers": "up"}


@pytest.mark.slow
def test_two_gateways_share_answers_by_a_store_and_a_purge_holds_for_it(server):
    message = "0|public, max-age=600|Accept-Language|"
    with shared(server) as one, shared(server) as other:
        for running in (one, other):
            eventually(lambda running=running: store_is_up(running), 20, "the store is up")

        # They listen on ports of their own; a proxy in front makes their URL the same.
        def ask(running, language="de"):
            with connect(
                "ws://example.com/",
                sock=socket.create_connection(("127.0.0.1", running.port)),
                additional_headers={"Accept-Language": language},
            ) as client:
                client.send(message)
                return client.recv(timeout=30)

        first = ask(one)
        assert ask(other) == first
        assert runs(other) == 0
        assert ask(other, "en") != first
        assert runs(other) == 1
        assert purge(other)[0] == 200
        second = ask(other)
        assert second != first
        # Without a bus the other gateway's memory is its own.
        assert ask(one) == first


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["kill", "freeze"])
def test_a_store_in_trouble_costs_no_answer(server, fault):
    with shared(server) as running:
        eventually(lambda: store_is_up(running), 20, "the store is up")
        message = "0|public, max-age=600|||{}"
        known = running.ask(message.format(0))
        getattr(server, fault)()
        try:
            for number in range(20):
                assert running.ask(message.format(number)) == running.ask(message.format(number))
            assert running.ask(message.format(0)) == known
            assert outcomes(running)["store_failed"] <= 5
        finally:
            if fault == "freeze":
                server.thaw()
            else:
                server.start()


@pytest.mark.slow
def test_a_purge_that_a_store_never_heard_of_is_told_of_when_wsgate_stops(server):
    with shared(server) as running:
        eventually(lambda: store_is_up(running), 20, "the store is up")
        running.ask("0|public, max-age=600||")
        server.kill()
        assert purge(running)[0] == 200
        assert running.stop() == 0
        said = "hook cache: a purge of / has not reached the store"
        assert running.log().count(said) == 1
        assert "Traceback" not in running.log()
