"""The straightforward way with Autobahn and Twisted: their classes, a small FastCGI client.

usage: autobahn_gateway.py kept|echo PHP-SOCKET SCRIPT PORT TLS-PORT CERTIFICATE PRIVATE-KEY

With `echo` it answers as the script would, without PHP.
"""

from __future__ import annotations

import struct
import sys
from collections import deque

from autobahn.twisted.websocket import WebSocketServerFactory, WebSocketServerProtocol
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import UNIXClientEndpoint, serverFromString
from twisted.internet.protocol import Factory, Protocol

BEGIN_REQUEST, END_REQUEST, PARAMS, STDIN, STDOUT = 1, 3, 4, 5, 6
MAX_CONTENT = 65528
MAX_CONNECTIONS = 4


def record(kind: int, content: bytes) -> bytes:
    return struct.pack("!BBHHBx", 1, kind, 1, len(content), 0) + content


def pair(name: str, value: str) -> bytes:
    a, b = name.encode(), value.encode()
    return length(a) + length(b) + a + b


def length(text: bytes) -> bytes:
    n = len(text)
    return struct.pack("!B", n) if n < 128 else struct.pack("!I", n | 1 << 31)


class FastCGI(Protocol):
    """One kept connection, one request at a time."""

    def send(self, request: bytes, answer: Deferred[bytes]) -> None:
        self.buffer, self.stdout, self.answer = b"", [], answer
        self.transport.write(request)

    def dataReceived(self, data: bytes) -> None:
        self.buffer += data
        while len(self.buffer) >= 8:
            _, kind, _, length, padding = struct.unpack_from("!BBHHB", self.buffer)
            if len(self.buffer) < 8 + length + padding:
                return
            if kind == STDOUT:
                self.stdout.append(self.buffer[8 : 8 + length])
            self.buffer = self.buffer[8 + length + padding :]
            if kind == END_REQUEST:
                answer, stdout = self.answer, b"".join(self.stdout)
                self.pool.release(self)
                answer.callback(stdout)
                return


class Pool:
    """At most four connections; the requests beyond wait."""

    def __init__(self, path: str) -> None:
        self.endpoint = UNIXClientEndpoint(reactor, path)
        self.idle, self.waiting, self.count = [], deque(), 0

    def ask(self, request: bytes) -> Deferred[bytes]:
        answer = Deferred()
        if self.idle:
            self.idle.pop().send(request, answer)
        elif self.count < MAX_CONNECTIONS:
            self.count += 1
            connecting = self.endpoint.connect(Factory.forProtocol(FastCGI))
            connecting.addCallback(self.connected, request, answer)
        else:
            self.waiting.append((request, answer))
        return answer

    def connected(self, connection: FastCGI, request: bytes, answer: Deferred[bytes]) -> None:
        connection.pool = self
        connection.send(request, answer)

    def release(self, connection: FastCGI) -> None:
        if self.waiting:
            connection.send(*self.waiting.popleft())
        else:
            self.idle.append(connection)


class Gateway(WebSocketServerProtocol):
    def onConnect(self, request: object) -> None:
        peer, host = self.transport.getPeer(), self.transport.getHost()
        self.params = {
            "SCRIPT_FILENAME": script, "SCRIPT_NAME": request.path, "DOCUMENT_ROOT": "/",
            "DOCUMENT_URI": request.path, "REQUEST_URI": request.path, "QUERY_STRING": "",
            "REQUEST_METHOD": "POST", "CONTENT_TYPE": "text/plain", "SERVER_PROTOCOL": "HTTP/1.1",
            "REQUEST_SCHEME": "http", "GATEWAY_INTERFACE": "CGI/1.1", "SERVER_SOFTWARE": "autobahn",
            "REMOTE_ADDR": peer.host, "REMOTE_PORT": str(peer.port), "SERVER_ADDR": host.host,
            "SERVER_PORT": str(host.port), "SERVER_NAME": "127.0.0.1", "REDIRECT_STATUS": "200",
        }  # fmt: skip
        for name, value in request.headers.items():
            self.params["HTTP_" + name.upper().replace("-", "_")] = value

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        params = {**self.params, "CONTENT_LENGTH": str(len(payload))}
        request = [
            record(BEGIN_REQUEST, struct.pack("!HB5x", 1, 1)),
            record(PARAMS, b"".join(pair(*item) for item in params.items())),
            record(PARAMS, b""),
        ]
        request += (
            record(STDIN, payload[at : at + MAX_CONTENT])
            for at in range(0, len(payload), MAX_CONTENT)
        )
        request.append(record(STDIN, b""))
        pool.ask(b"".join(request)).addCallback(self.answered)

    def answered(self, answer: bytes) -> None:
        self.sendMessage(answer.partition(b"\r\n\r\n")[2])


class Echo(WebSocketServerProtocol):
    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        self.sendMessage(b"!" + payload[1:])


mode, php, script, port, tls_port, certificate, private_key = sys.argv[1:]
pool = Pool(php)
factory = WebSocketServerFactory()
factory.protocol = Echo if mode == "echo" else Gateway
for endpoint in (
    f"tcp:{port}:interface=127.0.0.1:backlog=4096",
    f"ssl:{tls_port}:interface=127.0.0.1:backlog=4096:privateKey={private_key}:certKey={certificate}",
):
    serverFromString(reactor, endpoint).listen(factory)
reactor.run()
