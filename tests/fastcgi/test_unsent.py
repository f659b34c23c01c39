"""wsgate.fastcgi.unsent."""

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from tests.fastcgi.fakes import REQUEST
from wsgate.fastcgi.unsent import Unsent
from wsgate.timeouts import Timeouts


def test_stopping_the_timeout_works_with_and_without_one():
    timeouts = Timeouts(Clock())
    unsent = Unsent(REQUEST, Deferred(), 5.0)
    unsent.stop_timeout()
    unsent.timeout = timeouts.call_later(1, lambda: 1 / 0)
    unsent.stop_timeout()
    unsent.stop_timeout()
    assert len(timeouts) == 0
