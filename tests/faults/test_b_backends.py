"""B1 to B11: backends that are away, full, slow, busy, reloaded, or come and go."""

from __future__ import annotations

import os
import socket
import threading
import time
from contextlib import ExitStack

import pytest

from tests.faults.invariants import MIB
from tests.faults.load import load
from tests.faults.scripted_fastcgi import Hold, ScriptedFastCGI, answer
from tests.faults.stage import LATE, NOISE, stop, until
from tests.faults.status import fpm_processes
from tests.faults.tcp_proxy import syn_hole, tcp_proxy
from tests.faults.test_a_answers import cpu

BACK = 2.0
UNAVAILABLE = (502, "the backend is not available")
OVERLOADED = (503, "overloaded, try again later")


def assert_back(s, client, since):
    """Ask until there is an answer; the seconds since then."""
    while True:
        client.send_message(b"again")
        said = client.receive_message()
        if said == b"again":
            return time.monotonic() - since
        assert time.monotonic() < since + BACK + NOISE, said


@pytest.mark.case("B1")
@pytest.mark.parametrize("socket_file", ["dead", "missing"])
def test_a_backend_that_is_away_is_an_error_at_once_and_back_when_it_is(
    stages, outcome, tmp_path, socket_file
):
    tmp_path.chmod(0o755)
    path = tmp_path / "peer.sock"
    s = stages.scripted(fresh=True, path=str(path))
    with s.client() as client:
        client.send_message(b"first")
        assert client.receive_message() == b"first"
        s.peer.stop()
        if socket_file == "missing":
            path.unlink()
        errors = [s.error_on(client, b"away %d" % number, 0.5) for number in range(6)]
        assert {error.status for error in errors} <= {502, 503}
        path.unlink(missing_ok=True)
        s.peer.start()
        seconds = assert_back(s, client, time.monotonic())
    longest = max(error.seconds for error in errors)
    assert seconds < BACK
    outcome(
        f"{socket_file} socket: 6 errors, at most {longest * 1e3:.0f} ms each; "
        f"the first answer {seconds * 1e3:.0f} ms after its return"
    )


@pytest.mark.case("B2")
def test_a_full_queue_of_a_unix_socket_is_overload_after_a_few_tries(stages, outcome, tmp_path):
    tmp_path.chmod(0o755)
    path = str(tmp_path / "full.sock")
    with ExitStack() as stack:
        listener = stack.enter_context(socket.socket(socket.AF_UNIX))
        listener.bind(path)
        os.chmod(path, 0o666)
        listener.listen(0)
        for _ in range(3):
            filler = stack.enter_context(socket.socket(socket.AF_UNIX))
            filler.setblocking(False)
            filler.connect_ex(path)
        s = stages.scripted(fresh=True, backends=(f"unix:{path}",))
        before, began = cpu(s.wsgate.pid), time.monotonic()
        errors = [s.error(b"anyone?", 0.5) for _ in range(3)]
        used = (cpu(s.wsgate.pid) - before) / (time.monotonic() - began)
        assert {(error.status, error.reason) for error in errors} == {OVERLOADED}
        assert "UNIX backlog" in s.wsgate.log()
        # The bystanders' 200 messages per second are in it.
        assert used < 0.5
    longest = max(error.seconds for error in errors)
    outcome(f"error 503 after {longest * 1e3:.0f} ms and 4 tries, {used:.0%} of a core meanwhile")


@pytest.mark.case("B3")
def test_a_backend_that_drops_every_syn_is_an_error_in_time(stages, outcome):
    with syn_hole() as port:
        s = stages.scripted(
            fresh=True,
            backends=(f"tcp:127.0.0.1:{port}",),
            pool={"connect_timeout": "300ms", "queue_deadline": "1s"},
        )
        error = s.error(b"anyone?", 1.3)
    assert (error.status, error.reason) == UNAVAILABLE
    outcome(f"no SYN answered: error 502 after {error.seconds:.2f} s (connect_timeout 0.3 s)")


@pytest.mark.case("B3")
def test_the_second_backend_takes_over_from_one_that_drops_every_syn(stages, outcome):
    with syn_hole() as port:
        peer = ScriptedFastCGI()
        s = stages.scripted(
            fresh=True,
            backends=(f"tcp:127.0.0.1:{port}", peer.endpoint),
            pool={"connect_timeout": "300ms"},
        )
        began = time.monotonic()
        assert s.ask(b"first") == b"first"
        first = time.monotonic() - began
        assert first < 0.3 + LATE + NOISE
        peer.stop()
    outcome(f"with a second backend: answered after {first * 1e3:.0f} ms")


@pytest.mark.case("B3")
def test_a_slow_network_is_waited_for_until_the_deadline(stages, outcome):
    peer = ScriptedFastCGI()
    with tcp_proxy(peer.address) as proxy:
        s = stages.scripted(
            fresh=True, backends=(proxy.endpoint,), pool={"response_timeout": "500ms"}
        )
        proxy.up.latency = proxy.down.latency = 0.1
        assert s.ask(b"slow") == b"slow"
        proxy.down.latency = 5.0
        error = s.error(b"too slow", 0.5)
        assert (error.status, error.reason) == (504, "the backend took too long")
        proxy.down.latency = 0.0
        assert s.ask(b"next") == b"next"
        assert peer.ran(b"too slow") == 1
    peer.stop()
    outcome(f"an answer 5 s late: error 504 after {error.seconds:.2f} s (response_timeout 0.5 s)")


@pytest.mark.case("B4")
def test_a_thousand_messages_for_busy_workers_are_queued_up_to_the_bound(stages, outcome):
    s = stages.scripted(
        pool={"max_in_flight": 4, "queue": 256, "queue_deadline": "30s", "response_timeout": "30s"}
    )
    gate = threading.Event()
    s.peer.default = lambda request: (Hold(gate), answer(request.stdin))
    before = len(s.peer.requests)
    total, room = 1000, 4 + 256
    with ExitStack() as stack:
        clients = [stack.enter_context(s.client()) for _ in range(total)]
        for number, client in enumerate(clients[:room]):
            client.send_message(b"message %d" % number)
        # What was sent has been read by now: the next one is refused.
        until(lambda: s.error(b"is it full?").status == 503, 5)
        refused = [s.error_on(client, b"one too many") for client in clients[room:]]
        assert {(error.status, error.reason) for error in refused} == {OVERLOADED}
        assert s.peer.most_open <= 4
        gate.set()
        for number, client in enumerate(clients[:room]):
            assert client.receive_message() == b"message %d" % number
    # One connection for each: in the order they were made, whichever thread read first.
    asked = sorted(s.peer.requests[before:], key=lambda request: request.connection)
    ran = [request.stdin for request in asked]
    assert len(ran) == room
    # Four at a time, so neighbours may swap.
    moved = max(abs(int(stdin.split()[1]) - place) for place, stdin in enumerate(ran))
    assert moved <= 4
    times = sorted(error.seconds for error in refused)
    p99 = times[round(len(times) * 0.99) - 1]
    assert p99 < 0.05 + NOISE
    outcome(
        f"4 at work, 256 wait and are answered in order; {len(refused)} refused, "
        f"p99 {p99 * 1e3:.1f} ms, longest {times[-1] * 1e3:.0f} ms"
    )


RELOADED = {"main.php": "<?php usleep(3000); echo file_get_contents('php://input');"}


def reload_under_load(stages, times, pause, control_timeout):
    s = stages.php(
        fresh=True, workers=4, scripts=RELOADED, fpm={"process_control_timeout": control_timeout}
    )
    with load(s) as asking:
        for _ in range(times):
            until(lambda n=asking.sent: asking.sent > n + 20, 5)
            s.fpm.reload()
            time.sleep(pause)
        account = asking.stop()
    assert not account.wrong
    assert account.answered + account.refused == account.sent
    return account


@pytest.mark.case("B5")
def test_reloads_that_let_scripts_finish_cost_nothing(stages, outcome):
    account = reload_under_load(stages, 3, 0, "10s")
    assert not account.refused, account.errors
    outcome(f"3 reloads, {account.sent} messages: 0 errors, longest {account.longest * 1e3:.0f} ms")


@pytest.mark.long
@pytest.mark.case("B5")
def test_a_reload_every_five_seconds_for_a_minute_costs_nothing(stages, outcome):
    account = reload_under_load(stages, 12, 5, "10s")
    assert not account.refused, account.errors
    outcome(f"every 5 s for 1 min, {account.sent} messages: 0 errors")


@pytest.mark.case("B6")
def test_reloads_that_kill_scripts_cost_only_those(stages, outcome):
    account = reload_under_load(stages, 3, 0, "0")
    assert set(account.errors) <= {502}
    assert account.refused <= 3 * 4
    outcome(f"3 reloads, {account.sent} messages: {account.refused} errors, all of them told")


@pytest.mark.case("B7")
@pytest.mark.parametrize("keep", [False, True], ids=["closed", "kept"])
def test_workers_that_end_after_three_requests_lose_nothing(stages, outcome, keep):
    messages_to_short_lived_workers(stages, outcome, keep, 150)


def messages_to_short_lived_workers(stages, outcome, keep, total):
    s = stages.php(
        fresh=True, workers=4, fpm={"pm.max_requests": "3"}, pool={"keep_connections": keep}
    )
    with load(s, pace=0, total=total) as asking:
        account = asking.wait()
    assert not account.wrong
    assert account.answered + account.refused == account.sent == total
    if not keep:
        assert not account.refused, account.errors
    outcome(
        f"connections {'kept' if keep else 'closed'}: {account.sent} messages, "
        f"{account.refused} errors, 0 lost"
    )


@pytest.mark.long
@pytest.mark.case("B7")
def test_ten_thousand_messages_to_workers_that_end_after_three_lose_nothing(stages, outcome):
    messages_to_short_lived_workers(stages, outcome, False, 10_000)


@pytest.mark.case("B8")
def test_kept_connections_that_php_fpm_kills_while_idle_cost_nothing(stages, outcome):
    s = stages.php(
        fresh=True, fpm={"request_terminate_timeout": "1s"}, pool={"keep_connections": True}
    )
    for number in range(2):
        with s.client() as client:
            client.send_message(b"before %d" % number)
            assert client.receive_message() == b"before %d" % number
            before = set(s.fpm.worker_pids())
            until(lambda pids=before: set(s.fpm.worker_pids()) - pids, 5, "a worker is killed")
            until(lambda: fpm_processes(s.fpm).active == 0)
            client.send_message(b"after %d" % number)
            assert client.receive_message() == b"after %d" % number
    outcome("2 idle connections killed: 0 errors")


@pytest.mark.case("B9")
def test_a_backend_that_takes_a_message_too_slowly_is_an_error_at_the_deadline(stages, outcome):
    peer = ScriptedFastCGI()
    with tcp_proxy(peer.address) as proxy:
        proxy.up.rate = 1024
        s = stages.scripted(fresh=True, backends=(proxy.endpoint,), pool={"response_timeout": "1s"})
        errors = []
        with ExitStack() as stack:
            clients = [stack.enter_context(s.client()) for _ in range(4)]
            began = time.monotonic()
            for client in clients:
                client.send_message(bytes(2**20), False)
            errors = [s.next_error(client, began, 1.0) for client in clients]
        assert {error.status for error in errors} == {504}
        proxy.up.rate = 0
        assert s.ask(b"next") == b"next"
        assert not peer.violations
    peer.stop()
    longest = max(error.seconds for error in errors)
    outcome(f"4 messages of 1 MiB: error 504 after {longest:.2f} s (response_timeout 1 s)")


@pytest.mark.case("B9")
def test_a_backend_that_takes_nothing_more_is_given_up(stages, outcome):
    peer = ScriptedFastCGI()
    size = 8 * MIB
    with tcp_proxy(peer.address) as proxy:
        proxy.up.hole_after = 1
        s = stages.scripted(
            fresh=True,
            backends=(proxy.endpoint,),
            pool={"write_timeout": "500ms", "response_timeout": "30s"},
            limits={"max_message_size": size, "max_frame_size": size},
        )
        with s.client() as client:
            client.send_message(bytes(size), False)
            error = s.next_error(client, time.monotonic(), 1.0)
        assert error.status == 504
        proxy.up.hole_after = None
        assert s.ask(b"next") == b"next"
        assert not peer.violations
    peer.stop()
    outcome(f"8 MiB that nobody takes: error 504 after {error.seconds:.2f} s (write_timeout 0.5 s)")


@pytest.mark.case("B10")
@pytest.mark.parametrize("way", ["reset", "close"])
def test_a_client_that_leaves_costs_nothing_but_its_answer(stages, outcome, way):
    s = stages.scripted(fresh=True)
    left, done = threading.Event(), []

    def work(request):
        yield Hold(left)
        yield answer(b"done")
        done.append(request.message_id)

    s.peer.play(b"work", script=work)
    clients = [s.client() for _ in range(5)]
    for client in clients:
        client.send_message(b"work")
        client.send_message(b"never started")
        # A reset throws away what was not read; the pong says that all was.
        client.socket.sendall(client.frame(9, b"read?"))
        assert client.receive_frame().payload == b"read?"
    until(lambda: s.peer.ran(b"work") == 5)
    for client in clients:
        client.reset() if way == "reset" else client.socket.close()
    gone = {"route": "/", "outcome": "gone"}
    until(lambda: s.metrics().total("wsgate_messages_total", **gone) == 10, 5, "it is noticed")
    left.set()
    until(lambda: not s.peer.open)
    assert len(done) == 5
    assert s.peer.ran(b"never started") == 0
    assert "#error" not in s.wsgate.log()
    assert "#warn" not in s.wsgate.log()
    s.ended_by_the_case = True
    stages.watch(s).check()
    tally = stop(s.wsgate)
    assert tally["gone"] == 10, tally
    outcome(f"by {way}: 5 requests ran to their end, 10 messages gone, nothing in the log")


@pytest.mark.case("B11")
def test_a_backend_that_comes_and_goes_costs_little_beside_a_good_one(stages, outcome):
    first, second = ScriptedFastCGI(), ScriptedFastCGI()
    s = stages.scripted(fresh=True, backends=(first.endpoint, second.endpoint))
    with load(s, pace=0.02) as asking:
        until(lambda: asking.answered > 50)
        for _ in range(8):
            second.stop()
            until(lambda n=asking.sent: asking.sent > n + 50, 5)
            second.start()
            until(lambda n=asking.sent: asking.sent > n + 50, 5)
        # It is back for good: it gets its share again.
        back, before = time.monotonic(), second.accepted
        until(lambda: second.accepted > before + 20, 11)
        seconds = time.monotonic() - back
        account = asking.stop()
    assert not account.wrong
    assert account.answered + account.refused == account.sent
    # Those that were under way when it went.
    assert account.refused <= 8 * 4
    for peer in (first, second):
        assert max(peer.runs.values()) == 1
        peer.stop()
    outcome(
        f"gone 8 times, {account.sent} messages: {account.refused} errors; "
        f"with its share again after {seconds:.1f} s"
    )


@pytest.mark.case("B11")
def test_a_backend_that_fails_every_request_is_told_so_and_recovers(stages, outcome):
    s = stages.scripted(fresh=True)
    s.peer.default = ("close",)
    errors = [s.error(b"fail %d" % number) for number in range(30)]
    assert {error.status for error in errors} <= {502, 503}
    s.peer.default = lambda request: (answer(request.stdin),)
    with s.client() as client:
        seconds = assert_back(s, client, time.monotonic())
    outcome(
        f"30 cut requests: {sum(s.peer.runs.values()) - 1} reached it; "
        f"answers again after {seconds * 1e3:.0f} ms"
    )
