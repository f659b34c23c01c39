"""Workers of one machine act as one without Redis: their parent is the bus."""

import contextlib
import json
import os
import signal

import pytest

from tests.integration.bus_of_gateways import closing_later, heard, node, tell
from tests.integration.gateway_process import eventually

WORKERS = 3
ANY = "--set=limits.max_connections_per_address=0"


@pytest.fixture(scope="module")
def one():
    options = ("--workers", str(WORKERS), "--set=limits.channel_history=10", ANY)
    with node(*options, workers=WORKERS) as found:
        yield found


@pytest.fixture
def clients():
    with closing_later() as keep:
        yield keep


def spread(one, clients, *says):
    """Clients on every worker, by the node of their ids."""
    found = {}
    while len(found) < WORKERS:
        client = clients(one.client())
        place = tell(client, "id")[:8]
        if place not in found:
            for said in says:
                tell(client, said)
            found[place] = client
    return list(found.values())


def test_a_publish_reaches_the_clients_of_all_workers(one, clients):
    found = spread(one, clients, "user ann", "sub room")
    eventually(lambda: one.subscribers("room") == WORKERS)
    found[0].send("pub room php")
    assert [heard(client) for client in found] == ["php"] * WORKERS
    assert one.publish("room", "control") == WORKERS
    assert [heard(client) for client in found] == ["control"] * WORKERS
    assert one.users("room") == ["ann"]
    assert one.request("POST", "/users/ann", "user") == (200, {"delivered": WORKERS})
    assert [heard(client) for client in found] == ["user"] * WORKERS


def test_a_connection_of_any_worker_is_reached(one, clients):
    for client in spread(one, clients):
        path = f"/connections/{tell(client, 'id')}"
        assert one.request("POST", path, "hi") == (200, {"delivered": 1})
        assert heard(client) == "hi"
        assert one.request("PUT", f"{path}/channels/any")[0] == 200
    eventually(lambda: one.subscribers("any") == WORKERS)
    assert one.request("POST", f"/connections/{'0' * 32}", "hi")[0] == 404


def test_history_is_recovered_on_another_worker(one, clients):
    first = clients(one.client())
    mine = tell(first, "id")[:8]
    first.send("sub past; recover")
    assert "ok" in (heard(first), heard(first))
    eventually(lambda: one.publish("past", "0") == 1)
    last = json.loads(heard(first))["last"]
    first.close()
    eventually(lambda: one.subscribers("past") == 0)
    for text in ("1", "2"):
        one.publish("past", text)
    while True:
        second = clients(one.client(path=f"/?last={last}"))
        if tell(second, "id")[:8] != mine:
            break
    second.send("sub past; recover")
    got = [json.loads(m) for m in [heard(second) for _ in range(4)] if m != "ok"]
    assert got[0]["recovered"] is True
    assert [envelope["data"] for envelope in got[1:]] == ["1", "2"]


def test_a_worker_that_is_killed_takes_its_presence_with_it(one, clients):
    found = spread(one, clients, "sub killed")
    eventually(lambda: one.subscribers("killed") == WORKERS)
    log = one.gateway.log()
    pid = int(log.rpartition("worker 2 (pid ")[2].split(")")[0])
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: one.subscribers("killed") == WORKERS - 1)
    assert one.publish("killed", "x") == WORKERS - 1
    living = 0
    for client in found:
        with contextlib.suppress(Exception):
            living += heard(client) == "x"
    assert living == WORKERS - 1
    ready = "worker 2 (pid "
    eventually(lambda: one.gateway.log().count(ready) > log.count(ready), 20, "it is back")
    spread(one, clients, "sub back")
    eventually(lambda: one.subscribers("back") == WORKERS, 10)
