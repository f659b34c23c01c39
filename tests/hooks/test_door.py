"""wsgate.hooks.tokens.door: a first message that nobody could judge in time is not for PHP."""

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from tests.gateway.hooked import Visitor
from tests.hooks.services import made_services
from wsgate.hooks.tokens.door import LateDoor


class Undecided:
    """A judge who never comes to a word."""

    what = "token"
    outlasts_reload = False

    async def judge(self, connection, brought):
        await Deferred()


@pytest.mark.parametrize("passes", [True, False])
def test_a_client_whose_first_message_is_not_judged_in_time_is_closed(passes):
    door = LateDoor(made_services(Clock()), Undecided(), ["first_message"], patience=10)
    visitor = Visitor(door, passes=passes).enter()
    visitor.say("a token")
    visitor.say("a message")
    visitor.wait(3)
    assert visitor.said == [("close", 1013, "try again later")]
    assert visitor.asked == []
    assert visitor.is_exact()


def test_one_that_leaves_while_it_is_judged_is_just_gone():
    door = LateDoor(made_services(Clock()), Undecided(), ["first_message"], patience=10)
    visitor = Visitor(door).enter()
    visitor.say("a token")
    visitor.leave()
    assert visitor.said == []
    assert visitor.tally == (1, 0, 0, 1)
