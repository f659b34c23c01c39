"""wsgate.silence: who says nothing for too long is left."""

import pytest
from twisted.internet.task import Clock

from wsgate.silence import CHECK_EVERY, PATIENCE, Silence


class Server:
    """What one does that says nothing by itself."""

    def __init__(self):
        self.clock = Clock()
        self.owes = False
        self.asked = 0
        self.ends = []
        self.silence = Silence(self.clock, lambda: self.owes, self.ask, self.ends.append)
        self.silence.start()

    def ask(self):
        self.asked += 1
        self.owes = True

    def looks(self, count):
        self.clock.pump([CHECK_EVERY] * count)


@pytest.fixture
def server():
    return Server()


def test_one_that_owes_nothing_is_asked(server):
    server.looks(1)
    assert server.asked == 1


def test_one_that_owes_something_is_given_up_when_its_looks_are_over(server):
    server.owes = True
    server.looks(PATIENCE)
    assert server.ends == []
    server.looks(1)
    assert server.ends == [f"no answer for {PATIENCE} s"]
    assert server.asked == 0


def test_any_word_breaks_its_silence(server):
    server.owes = True
    for _ in range(3):
        server.looks(PATIENCE)
        server.silence.broken()
    assert server.ends == []


def test_a_long_pause_of_our_own_is_one_look(server):
    server.owes = True
    server.clock.advance(CHECK_EVERY * PATIENCE * 10)
    assert server.ends == []


def test_after_its_end_nobody_looks(server):
    server.silence.stop()
    server.silence.stop()
    server.looks(PATIENCE * 2)
    assert (server.asked, server.ends) == (0, [])
    assert not server.clock.getDelayedCalls()
