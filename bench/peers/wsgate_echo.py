"""wsgate's own connections and conversations, with a responder that answers at once instead of PHP.

usage: wsgate_echo.py PORT
"""

from __future__ import annotations

import sys
from typing import Any

from twisted.internet import reactor

from wsgate.cgi import Script
from wsgate.dispatch import call_directly
from wsgate.eager import write_eagerly
from wsgate.fastcgi import Response
from wsgate.garbage import collect_rarely
from wsgate.gateway import Route
from wsgate.websocket import GatewayFactory, WebSocketOptions


class Responder:
    """In the place of a pool: the script's answer, without the script."""

    def ask(self, request: Any, turn: Any) -> None:
        """Answer before this returns."""
        body = b"!" + request.stdin[1:]
        turn.callback(Response(b"Content-type: text/plain;charset=UTF-8\r\n\r\n" + body, b"", 0))

    def withdraw(self, unsent: object) -> None:
        """Nothing ever waits."""


def main() -> None:
    """Serve until a signal comes."""
    real: Any = reactor
    responder: Any = Responder()
    route = Route(path="/", script=Script("/echo.php", "/echo.php", "/"), pool=responder)
    options = WebSocketOptions(
        max_connections=20000, max_connections_per_address=0, new_connections_per_address=0
    )
    factory = GatewayFactory(real, [route], options)
    port = real.listenTCP(int(sys.argv[1]), factory, backlog=4096, interface="127.0.0.1")
    write_eagerly(port)
    call_directly(real)
    collect_rarely()
    real.run()


if __name__ == "__main__":
    main()
