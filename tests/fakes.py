"""Stand-ins for the neighbours of a room, for unit tests of that room alone."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport

from wsgate.channels import Channels
from wsgate.fastcgi import Lane, PoolLimits, Response
from wsgate.gateway import Arrival, QueueLimits
from wsgate.http1 import RequestHead

HEAD = RequestHead(b"GET", b"/", b"HTTP/1.1", ())


def arrival(peer, params=b"", limits=None, connection_id="id", head=HEAD, subprotocol=None):
    """A client at a route, whose handshake was `head`."""
    return Arrival(connection_id, params, peer, limits or QueueLimits(), head, subprotocol)


class FakePool:
    """A pool whose answers come when the test says so."""

    def __init__(self):
        self.requests = []
        self.turns = []
        self.lanes = []
        self.cancelled = []
        self.max_in_flight = 8
        self.limits = PoolLimits()
        self.is_waiting = True
        """Whether what has no answer can be taken back."""

    def ask(self, request, turn, lane=Lane.MESSAGE):
        self.requests.append(request)
        self.turns.append(turn)
        self.lanes.append(lane)
        return request

    def request(self, request, lane=Lane.MESSAGE):
        deferred = Deferred()
        self.ask(request, deferred, lane)
        return deferred

    def withdraw(self, request):
        self.cancelled.append(request)
        return self.is_waiting

    def answer(self, body=b"", header=b"Content-Type: text/plain", stderr=b""):
        """Answer the oldest request that has no answer."""
        self.turns.pop(0).callback(Response(header + b"\r\n\r\n" + body, stderr, 0))

    def fail(self, error):
        self.turns.pop(0).errback(error)


class FakeBook:
    """A journal that writes when the test says so."""

    def __init__(self):
        self.entries = {}
        self.waiting = []
        self.swept = []
        self.errors = 0
        self.is_running = False

    def start(self):
        self.is_running = True

    def stop(self):
        self.is_running = False

    def put(self, entry):
        self.entries[entry.connection_id] = entry
        done = Deferred()
        self.waiting.append(done)
        return done

    def note(self, entry):
        self.entries[entry.connection_id] = entry

    def remove(self, connection_id):
        self.entries.pop(connection_id, None)

    def sweep(self, paths, age):
        done = Deferred()
        self.swept.append((paths, age, done))
        return done

    def write(self):
        """What was put is on the disk now."""
        while self.waiting:
            self.waiting.pop(0).callback(None)


class FakePeer:
    """A socket that remembers what it was asked to do."""

    def __init__(self):
        self.did = []
        self.channels = Channels(Clock())
        self.soon = []

    def send_message(self, payload, is_binary):
        self.did.append((payload, is_binary))

    def push(self, message):
        self.did.append(("push", message.payload, message.is_binary))
        return True

    def info(self):
        return {"connected_at": 1.0, "remote_addr": "192.0.2.7"}

    def close(self, code, reason):
        self.did.append(("close", code, reason))

    def pause_reading(self):
        self.did.append("pause")

    def resume_reading(self):
        self.did.append("resume")

    def call_soon(self, function):
        self.soon.append(function)

    def conversation_idle(self):
        self.did.append("idle")


class FakeMember:
    """An open connection that takes what it is given while `takes` says so."""

    def __init__(self, connection_id, takes=True):
        self.connection_id = connection_id
        self.user = None
        self.channels = frozenset()
        self.takes = takes
        self.got = []

    def push(self, message):
        if self.takes:
            self.got.append(message.payload)
        return self.takes

    def close(self, code, reason):
        self.got.append((code, reason))

    def info(self):
        return {"id": self.connection_id}


class Transport(StringTransport):
    """A transport that knows whether it was closed or aborted, and how much is unsent."""

    aborted = False
    bufferSize = 2**16
    dataBuffer = b""
    offset = 0

    def abortConnection(self):
        self.aborted = True
        self.loseConnection()
