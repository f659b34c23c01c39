"""wsgate.threads: how long a stop waits for threads; the pools are real, the time is a Clock's."""

import threading
from queue import SimpleQueue

import pytest
from twisted.internet.defer import CancelledError, Deferred, ensureDeferred
from twisted.internet.interfaces import IReactorThreads
from twisted.internet.task import Clock
from twisted.logger import capturedLogs
from twisted.python.threadpool import ThreadPool
from zope.interface import implementer

from tests.deferreds import outcome
from wsgate.threads import GLANCE, OwnThreads, ReactorThreads


@implementer(IReactorThreads)
class Reactor(Clock):
    """A clock with a pool of threads."""

    def __init__(self):
        super().__init__()
        self.pool = ThreadPool(0, 2)

        self._calls = SimpleQueue()

    def getThreadPool(self):
        return self.pool

    def callFromThread(self, function, *arguments):
        self._calls.put((function, arguments))

    def take_call(self):
        """Do the next thing that a thread has asked for."""
        function, arguments = self._calls.get(timeout=20)
        function(*arguments)


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


class Hanging:
    """Calls in threads of their own that hang until they are told to go on."""

    def __init__(self, threads):
        self.go = threading.Event()
        self.begun = threading.Semaphore(0)
        self.count = 0
        self._threads = threads

    def call(self):
        return self._threads.call(self._hang)

    def _hang(self):
        self.begun.release()
        self.count += 1
        self.go.wait(20)
        return "gone on"


@pytest.fixture
def hanging(reactor):
    threads = OwnThreads(reactor, 2)
    hanging = Hanging(threads)
    hanging.threads = threads
    yield hanging
    hanging.go.set()
    threads.stop()


def test_own_threads_give_what_a_function_gives_or_raises(reactor, hanging):
    given = hanging.threads.call(lambda: 42)
    raised = hanging.threads.call(lambda: 1 // 0)
    for _ in range(2):
        reactor.take_call()
    assert outcome(given) == 42
    assert isinstance(outcome(raised), ZeroDivisionError)


def test_there_is_no_own_thread_before_the_first_call(hanging):
    assert hanging.threads._pool is None


def test_as_many_hang_as_may_and_the_reactor_s_threads_are_free(reactor, hanging):
    calls = [hanging.call() for _ in range(5)]
    for _ in range(2):
        assert hanging.begun.acquire(timeout=20)
    assert hanging.count == 2
    assert not reactor.pool.working
    hanging.go.set()
    for _ in range(5):
        reactor.take_call()
    assert [outcome(call) for call in calls] == ["gone on"] * 5


def test_a_stop_waits_for_no_own_thread_and_takes_no_call_any_more(reactor, hanging):
    under_way = hanging.call()
    assert hanging.begun.acquire(timeout=20)
    (thread,) = hanging.threads._pool.threads
    assert thread.daemon
    hanging.threads.stop()
    assert thread.is_alive()
    assert isinstance(outcome(hanging.call()), CancelledError)
    hanging.go.set()
    reactor.take_call()
    assert outcome(under_way) == "gone on"
    thread.join(20)
    assert not thread.is_alive()
