"""wsgate.websocket.underway: who gives way, and when a port may accept."""

from wsgate.websocket.underway import (
    CALM_GAP,
    CALM_PATIENCE,
    GIVING_WAY,
    LOOKS,
    PATIENCE,
    HandshakesUnderWay,
)


class Opening:
    gone = False

    def give_way(self):
        self.gone = True


def full(limit, now=0.0):
    under_way = HandshakesUnderWay(limit)
    openings = [Opening() for _ in range(limit)]
    assert all(under_way.begin(opening, now) for opening in openings)
    return under_way, openings


def looks(under_way, began, number, gap):
    return [under_way.room(began + gap * look) for look in range(number)]


def test_there_is_room_for_as_many_as_are_missing():
    under_way, openings = full(3)
    under_way.end(openings[1])
    assert under_way.room(0.0) == 1
    under_way.end(openings[0])
    assert under_way.room(0.0) == 2


def test_when_all_places_are_taken_there_is_none_until_some_took_long():
    under_way, openings = full(3)
    slow = 2 * CALM_GAP
    assert looks(under_way, PATIENCE - 9 * slow, 2 * LOOKS, slow) == [0] * 2 * LOOKS
    assert looks(under_way, PATIENCE, LOOKS, slow) == [0] * (LOOKS - 1) + [3]
    newer = [Opening() for _ in range(3)]
    assert all(under_way.begin(opening, 6.0) for opening in newer)
    assert all(opening.gone for opening in openings)
    assert not under_way.begin(Opening(), 6.0 + PATIENCE - 0.1)


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


def test_with_time_to_spare_all_that_are_slow_give_way():
    under_way, _ = full(20)
    # The first look tells nothing: what was before it is not known.
    assert looks(under_way, 10.0, LOOKS + 2, CALM_GAP / 2)[LOOKS:] == [20] * 2
    assert all(under_way.begin(Opening(), 10.5) for _ in range(20))
    late = 10.5 + CALM_PATIENCE
    assert looks(under_way, late - 1, LOOKS + 1, CALM_GAP / 2)[-1] == 0
    assert looks(under_way, late, LOOKS + 1, CALM_GAP / 2)[-1] == 20


def test_where_turns_take_long_few_give_way_and_later():
    under_way, _ = full(20)
    assert max(looks(under_way, PATIENCE - 3.0, 12, CALM_GAP * 2)) == 0
    assert max(looks(under_way, PATIENCE, 12, CALM_GAP * 2)) == GIVING_WAY


def test_a_handshake_that_ends_shows_that_others_get_on_too():
    under_way, openings = full(20)
    assert looks(under_way, 4.0, LOOKS, CALM_GAP / 2) == [0] * LOOKS
    under_way.end(openings[0])
    assert under_way.room(4.2) == 1
    assert under_way.begin(Opening(), 4.2)
    assert looks(under_way, 4.21, LOOKS - 1, CALM_GAP / 2) == [0] * (LOOKS - 1)
