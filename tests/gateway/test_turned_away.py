"""wsgate.gateway.guesting: nothing stays of a client that was not let in."""

from tests.gateway.hooked import Visitor
from wsgate.hooks import Hook, Refuse


class Watches(Hook):
    """Looks after a client again and again, as a hook does that knows when a session ends."""

    def __init__(self):
        self.looks = 0

    def on_connect(self, connection):
        connection.call_later(1, lambda: self.look(connection))

    def look(self, connection):
        self.looks += 1
        connection.call_later(1, lambda: self.look(connection))


class Refuses(Hook):
    def on_connect(self, connection):
        return Refuse(403)


def test_what_a_hook_wanted_to_do_later_is_not_done_for_a_client_that_another_refuses():
    watches = Watches()
    visitor = Visitor(watches, Refuses()).knock()
    visitor.wait(5)
    assert (visitor.error.status, watches.looks) == (403, 0)
    assert len(visitor.timeouts) == 0


def test_nor_for_one_that_php_refuses():
    watches = Watches()
    visitor = Visitor(watches, events=("connect", "message")).knock()
    visitor.pool.answer(header=b"Status: 403")
    visitor.wait(5)
    assert (visitor.error.status, watches.looks) == (403, 0)
    assert len(visitor.timeouts) == 0
