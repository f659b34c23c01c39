"""Session files are looked at in threads, again while they are written, and never too many."""

import os

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from wsgate.hooks.errors import HookFailed
from wsgate.hooks.services import Services
from wsgate.hooks.session import files
from wsgate.hooks.session.files import Place, Rules, Unsettled
from wsgate.hooks.session.sources import LOOKS, MOST, PAUSE, Files

ID = "abcdefghij0123456789ABCDEF"


class Threads:
    """Threads that work when they are told to."""

    def __init__(self):
        self.waiting = []
        self.stops = 0

    def stop(self):
        self.stops += 1

    def call(self, function):
        done = Deferred()
        self.waiting.append((function, done))
        return done

    def work(self):
        """All that wait do what they have to."""
        waiting, self.waiting = self.waiting, []
        for function, done in waiting:
            try:
                found = function()
            except Exception as error:
                done.errback(error)
            else:
                done.callback(found)


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def threads():
    return Threads()


@pytest.fixture
def source(clock, threads, tmp_path):
    services = Services(
        reactor=clock,
        wall=lambda: 1_000_000.0,
        timeouts=None,
        channels=None,
        stores={},
        count=lambda _name, _outcome: None,
    )
    rules = Rules(max_size=100, max_age=1440, owner=None)
    return Files(services, Place(str(tmp_path)), rules, threads)


def looking(source):
    """A look-up, and what comes of it once it is over."""
    outcome = []
    Deferred.fromCoroutine(source.look_up(ID)).addBoth(outcome.append)
    return outcome


def over(outcome):
    (found,) = outcome
    return getattr(found, "value", found)


def save(folder):
    file = folder / f"sess_{ID}"
    file.write_bytes(b"user_id|i:42;")
    os.utime(file, (999_999, 999_999))


def test_a_file_is_read_in_a_thread(source, threads, tmp_path):
    save(tmp_path)
    outcome = looking(source)
    assert outcome == []
    threads.work()
    assert over(outcome) == b"user_id|i:42;"


def test_without_a_file_there_is_no_session(source, threads):
    outcome = looking(source)
    threads.work()
    assert over(outcome) is None


def test_what_may_not_be_read_is_a_failure_that_names_no_session(source, threads, tmp_path):
    (tmp_path / f"sess_{ID}").mkdir()
    outcome = looking(source)
    threads.work()
    assert isinstance(over(outcome), HookFailed)
    assert ID not in str(over(outcome))


def test_a_file_that_is_being_written_is_looked_at_again(
    source, threads, clock, tmp_path, monkeypatch
):
    save(tmp_path)
    really = files.read
    left = [Unsettled(is_empty=True), Unsettled(is_empty=False)]

    def unsettled(*arguments):
        if left:
            raise left.pop()
        return really(*arguments)

    monkeypatch.setattr(files, "read", unsettled)
    outcome = looking(source)
    for _ in range(2):
        threads.work()
        assert threads.waiting == []
        clock.advance(PAUSE)
    threads.work()
    assert over(outcome) == b"user_id|i:42;"


@pytest.fixture
def unsettled(source, threads, clock, monkeypatch):
    """Look a session up that is never settled; what comes of it. It is empty as often as said."""

    def look(times_empty):
        left = [Unsettled(is_empty=number < times_empty) for number in range(LOOKS)]

        def read(*_arguments):
            raise left.pop(0)

        monkeypatch.setattr(files, "read", read)
        outcome = looking(source)
        for _ in range(LOOKS):
            assert outcome == []
            threads.work()
            clock.advance(PAUSE)
        return over(outcome)

    return look


def test_a_file_that_is_written_again_and_again_is_a_failure(unsettled):
    assert isinstance(unsettled(0), HookFailed)
    assert isinstance(unsettled(LOOKS - 1), HookFailed)


def test_a_file_that_stays_empty_is_no_session_yet(unsettled):
    assert unsettled(LOOKS) is None


def test_no_more_files_are_looked_at_than_may_be(source, threads, tmp_path):
    save(tmp_path)
    first = [looking(source) for _ in range(MOST)]
    assert isinstance(over(looking(source)), HookFailed)
    threads.work()
    assert [over(outcome) for outcome in first] == [b"user_id|i:42;"] * MOST
    outcome = looking(source)
    threads.work()
    assert over(outcome) == b"user_id|i:42;"


def test_who_does_not_wait_any_more_holds_a_place_until_the_thread_is_free(
    source, threads, tmp_path
):
    save(tmp_path)
    waiting = Deferred.fromCoroutine(source.look_up(ID))
    waiting.addErrback(lambda _: None)
    waiting.cancel()
    assert len(source._under_way) == 1
    function, _ = threads.waiting.pop()
    function()
    assert len(source._under_way) == 0


def test_its_threads_stop_with_it(source, threads):
    source.stop()
    assert threads.stops == 1
