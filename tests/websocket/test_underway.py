"""wsgate.websocket.underway: who gives way, and when a port may accept."""

from wsgate.websocket.underway import LOOKS, HandshakesUnderWay


class Opening:
    gone = False

    def give_way(self):
        self.gone = True


def full(limit, now=0.0):
    under_way = HandshakesUnderWay(limit)
    openings = [Opening() for _ in range(limit)]
    assert all(under_way.begin(opening, now) for opening in openings)
    return under_way, openings


def test_there_is_room_for_as_many_as_are_missing():
    under_way, openings = full(3)
    under_way.end(openings[1])
    assert under_way.room(0.0) == 1
    under_way.end(openings[0])
    assert under_way.room(0.0) == 2


def test_when_all_places_are_taken_there_is_none_until_some_took_long():
    under_way, openings = full(3)
    assert [under_way.room(4.5) for _ in range(2 * LOOKS)] == [0] * 2 * LOOKS
    assert [under_way.room(5.0) for _ in range(LOOKS)] == [0] * (LOOKS - 1) + [3]
    newer = [Opening() for _ in range(3)]
    assert all(under_way.begin(opening, 5.0) for opening in newer)
    assert all(opening.gone for opening in openings)
    assert not under_way.begin(Opening(), 9.5)


def test_a_turn_of_ours_that_took_long_costs_nobody_the_place():
    under_way, openings = full(2)
    assert [under_way.room(9.0) for _ in range(LOOKS - 1)] == [0] * (LOOKS - 1)
    under_way.end(openings[0])
    assert under_way.room(9.0) == 1
    assert under_way.begin(Opening(), 9.0)
    assert [under_way.room(9.0) for _ in range(LOOKS - 1)] == [0] * (LOOKS - 1)
    assert not openings[1].gone


def test_without_a_limit_there_is_always_room():
    under_way = HandshakesUnderWay(0)
    for _ in range(2000):
        assert under_way.begin(Opening(), 0.0)
    assert under_way.room(0.0) > 1000
