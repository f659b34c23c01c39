"""Several real gateways that act as one, and a PHP script that does what its clients say."""

import contextlib
import http.client
import json
from collections.abc import Callable, Iterator
from typing import Any

from websockets.sync.client import ClientConnection

from tests.integration.gateway_process import Gateway, eventually, gateway
from tests.integration.test_control import Control, UnixConnection

SCRIPT = """<?php
$said = file_get_contents('php://input');
[$do, $what] = explode(' ', $said, 2) + [1 => ''];
if ($do === 'id') { echo $_SERVER['WSGATE_CONNECTION_ID']; exit; }
if ($do === 'sub') { header("Wsgate-Subscribe: $what"); echo 'ok'; exit; }
if ($do === 'unsub') { header("Wsgate-Unsubscribe: $what"); echo 'ok'; exit; }
if ($do === 'user') { header("Wsgate-User: $what"); echo 'ok'; exit; }
if ($do === 'both') { header("Wsgate-Subscribe: $what"); header("Wsgate-Publish: $what"); }
if ($do === 'pub') { [$room, $what] = explode(' ', $what, 2); header("Wsgate-Publish: $room"); }
echo $what;
"""


@contextlib.contextmanager
def closing_later() -> Iterator[Callable[[ClientConnection], ClientConnection]]:
    """Gives back each client that it is called with, and closes them all at the end."""
    with contextlib.ExitStack() as stack:

        def keep(client: ClientConnection) -> ClientConnection:
            stack.callback(client.close)
            return client

        yield keep


class Node:
    """One gateway and its control interface."""

    def __init__(self, process: Gateway) -> None:
        self.gateway = process
        self.control = Control(process.place.folder / "control.sock")

    def client(self, *says: str, path: str = "/") -> ClientConnection:
        """A client for whom the script has done what it said."""
        client = self.gateway.connect(path).__enter__()
        for said in says:
            assert tell(client, said) == "ok"
        return client

    def request(self, method: str, path: str, body: str | bytes = b"") -> tuple[int, Any]:
        """What the control interface answers: status, and JSON."""
        connection = UnixConnection(self.control.path)
        try:
            kind = "text/plain" if isinstance(body, str) else "application/octet-stream"
            raw = body.encode() if isinstance(body, str) else body
            connection.request(method, path, raw, {"Content-Type": kind})
            answer: http.client.HTTPResponse = connection.getresponse()
            return answer.status, json.loads(answer.read())
        finally:
            connection.close()

    def publish(self, channel: str, body: str | bytes) -> int:
        """To how many, or minus the status where that is an error."""
        status, told = self.request("POST", f"/channels/{channel}", body)
        return int(told["delivered"]) if status == 200 else -status

    def subscribers(self, channel: str) -> int:
        """How many there are, on all nodes."""
        status, told = self.request("GET", f"/channels/{channel}")
        return int(told["subscribers"]) if status == 200 else -status

    def users(self, channel: str) -> list[str]:
        """Who they are."""
        _, told = self.request("GET", f"/channels/{channel}?users=1")
        users: list[str] = told["users"]
        return users

    def figure(self, name: str, *labels: str) -> float:
        """One figure of /metrics."""
        return float(self.control.figures()[(name, *labels)])

    def is_up(self) -> bool:
        """Whether it has its bus."""
        return self.figure("wsgate_bus_up") == 1


@contextlib.contextmanager
def node(*options: str, **more: Any) -> Iterator[Node]:
    """A gateway with the script and a control interface."""
    all_options = ("--control", "unix:{folder}/control.sock", *options)
    scripts = {"script.php": SCRIPT}
    with gateway(
        *all_options, scripts=scripts, script="script.php", **({"workers": 2} | more)
    ) as process:
        found = Node(process)
        eventually(found.control.ready, 20, "the control interface answers")
        yield found


@contextlib.contextmanager
def nodes(count: int, *options: str) -> Iterator[list[Node]]:
    """Gateways that have found their bus."""
    with contextlib.ExitStack() as stack:
        found = [stack.enter_context(node(*options)) for _ in range(count)]
        for one in found:
            eventually(one.is_up, 10, "the bus is there")
        yield found


def tell(client: ClientConnection, said: str) -> str:
    """What the script answers."""
    client.send(said)
    return str(client.recv(timeout=10))


def heard(client: ClientConnection) -> str:
    """The next message."""
    return str(client.recv(timeout=10))


def nothing_more(client: ClientConnection) -> bool:
    """Whether nothing is due before the answer to a question asked now."""
    return tell(client, "echo end") == "end"
