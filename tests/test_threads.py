"""wsgate.threads: how long a stop waits for threads; the pools are real, the time is a Clock's."""

import threading

import pytest
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.interfaces import IReactorThreads
from twisted.internet.task import Clock
from twisted.logger import capturedLogs
from twisted.python.threadpool import ThreadPool
from zope.interface import implementer

from wsgate.threads import GLANCE, ReactorThreads


@implementer(IReactorThreads)
class Reactor(Clock):
    """A clock with a pool of threads."""

    def __init__(self):
        super().__init__()
        self.pool = ThreadPool(0, 2)

    def getThreadPool(self):
        return self.pool


@pytest.fixture
def reactor():
    return Reactor()


@pytest.fixture
def hang(reactor):
    """Starts a thread that hangs until the test is over, or says so."""
    go = threading.Event()
    ends = []

    def begin():
        begun, over = threading.Event(), threading.Event()
        reactor.pool.callInThreadWithCallback(
            lambda *_: over.set(), lambda: begun.set() or go.wait(20)
        )
        assert begun.wait(20)
        ends.append(over)

    begin.end = lambda: (go.set(), [over.wait(20) for over in ends], idle(reactor.pool))
    yield begin
    go.set()


def idle(pool):
    """Wait until its threads have said that they are done."""
    while pool.working:
        threading.Event().wait(0.001)


@pytest.fixture
def threads(reactor):
    threads = ReactorThreads(reactor)
    threads.start()
    reactor.pool.start()
    return threads


def test_threads_that_do_nothing_are_not_waited_for(threads):
    assert ensureDeferred(threads.finish(10)).called


def test_a_thread_is_waited_for_and_then_joined(reactor, threads, hang):
    hang()
    done = ensureDeferred(threads.finish(10))
    reactor.advance(9)
    assert not done.called
    hang.end()
    reactor.advance(GLANCE)
    assert done.called
    assert reactor.pool.threads
    reactor.pool.stop()
    assert not any(thread.is_alive() for thread in reactor.pool.threads)


@pytest.mark.parametrize("how", ["late", "given up"])
def test_a_thread_that_hangs_is_left_behind(reactor, threads, hang, how):
    hang()
    hang()
    (one, two) = reactor.pool.threads
    done: Deferred = ensureDeferred(threads.finish(10))
    reactor.advance(9.9)
    assert not done.called
    with capturedLogs() as logs:
        if how == "given up":
            threads.give_up()
            reactor.advance(GLANCE)
        else:
            reactor.advance(0.1)
    assert done.called
    assert logs[0]["count"] == 2
    # It would wait for them.
    reactor.pool.stop()
    assert one.is_alive()
    assert two.is_alive()
    assert one.daemon, "or Python would wait for it in the end"


def test_a_time_that_is_over_is_no_wait_at_all(threads, hang):
    hang()
    assert ensureDeferred(threads.finish(-1)).called


def test_a_reactor_without_threads_has_none_that_hang():
    threads = ReactorThreads(Clock())
    threads.start()
    assert ensureDeferred(threads.finish(10)).called
