"""What tests of stores share: a store of a test's own, and servers that talk nonsense."""

import contextlib
import socket
import threading

from twisted.internet import reactor
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from wsgate.config import Settings
from wsgate.config.stores import StoreSettings
from wsgate.stores import make_stores


@contextlib.contextmanager
def babbler(*words, after=0):
    """A server that says `words` to whoever connects, after it has heard `after` bytes."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve():
        with contextlib.suppress(OSError):
            while True:
                client, _ = listener.accept()
                with contextlib.suppress(OSError), client:
                    for word in words:
                        if after:
                            client.recv(after)
                        client.sendall(word)
                    client.recv(1)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.close()


class StoreTestCase(TestCase):
    timeout = 60

    def serve(self, server):
        """Start a server, and end it when the test is over."""
        stack = contextlib.ExitStack()
        self.addCleanup(stack.close)
        return stack.enter_context(server)

    def settings(self, url, **more):
        return Settings(stores={"users": StoreSettings(name="users", url=url, **more)})

    def store(self, url, **more):
        """A store that was started."""
        self.stores = make_stores(reactor, self.settings(url, **more))
        self.stores.start()
        self.addCleanup(self.stores.stop)
        return self.stores["users"]

    async def until(self, condition, seconds=20.0):
        """Return when `condition()` is true."""
        deadline = reactor.seconds() + seconds
        while not condition():
            assert reactor.seconds() < deadline, "not in time"
            await deferLater(reactor, 0.02)

    async def up(self, store):
        await self.until(lambda: store.is_up)
        return store

    async def error_of(self, deferred, kind):
        try:
            answer = await deferred
        except kind as error:
            return str(error)
        raise AssertionError(f"no {kind.__name__}, but {answer!r}")
