"""A channel's order at one node, beside a log that loses connections and messages."""

from hypothesis import given
from hypothesis import strategies as st

from wsgate.bus.following import Due, Following, Gap
from wsgate.bus.interface import Entry, Position, Stretch


def at(offset, epoch="a"):
    return Position(epoch, offset)


def begun(offset=0):
    following = Following()
    following.answered(Stretch(at(offset)))
    return following


def test_messages_in_order_are_delivered_at_once():
    following = begun(4)
    assert following.received(at(5), b"5") == (Due(at(5), b"5"),)
    assert following.received(at(6), b"6") == (Due(at(6), b"6"),)


def test_a_message_that_came_before_is_not_delivered_again():
    following = begun(4)
    following.received(at(5), b"5")
    assert following.received(at(5), b"5") == ()
    assert following.received(at(3), b"3") == ()


def test_what_comes_before_the_first_answer_is_held_and_then_delivered():
    following = Following()
    assert following.waits
    assert following.received(at(8), b"8") == ()
    _, history, steps = following.answered(Stretch(at(8), (Entry(7, b"7"), Entry(8, b"8"))))
    assert history == (Entry(7, b"7"),)
    assert steps == (Due(at(8), b"8"),)
    assert not following.waits


def test_the_first_answer_reports_no_gap_of_what_nobody_here_listened_to():
    following = Following()
    assert following.answered(Stretch(at(100))) == (at(100), (), ())
    assert following.received(at(101), b"x") == (Due(at(101), b"x"),)


def test_a_gap_is_filled_from_the_history():
    following = begun(4)
    assert following.received(at(7), b"7") is None
    assert following.received(at(8), b"8") == ()
    stretch = Stretch(at(8), (Entry(5, b"5"), Entry(6, b"6"), Entry(7, b"7"), Entry(8, b"8")))
    _, _, steps = following.answered(stretch)
    assert steps == tuple(Due(at(n), b"%d" % n) for n in (5, 6, 7, 8))


def test_a_gap_without_history_is_counted_before_what_follows():
    following = begun(4)
    assert following.received(at(7), b"7") is None
    _, _, steps = following.answered(Stretch(at(7)))
    assert steps == (Gap(2, at(6)), Due(at(7), b"7"))


def test_messages_missed_at_the_end_are_counted_after_the_bus_came_back():
    following = begun(4)
    following.ask()
    _, _, steps = following.answered(Stretch(at(9)))
    assert steps == (Gap(5, at(9)),)
    assert following.position == at(9)


def test_a_channel_that_began_anew_is_a_gap_of_unknown_size():
    following = begun(4)
    assert following.received(at(1, "b"), b"x") is None
    _, _, steps = following.answered(Stretch(at(1, "b")))
    assert steps == (Gap(None, at(0, "b")), Due(at(1, "b"), b"x"))


def test_a_channel_never_published_to_begins_without_a_question():
    following = Following()
    following.answered(Stretch(Position("", 0)))
    assert following.received(at(1), b"x") == (Due(at(1), b"x"),)


@given(st.data())
def test_every_message_is_delivered_once_in_order_or_counted_as_missed(data):
    """One log of one epoch; pushes may be lost, and the history may be short."""
    following = Following()
    log, delivered, missed, start = [], [], 0, data.draw(st.integers(0, 5))
    log += [b"%d" % n for n in range(1, start + 1)]
    kept = data.draw(st.integers(0, 4))

    def answer():
        nonlocal missed
        after = following.position.offset if following.position else 0
        first = max(after, len(log) - kept)
        entries = tuple(Entry(n + 1, log[n]) for n in range(first, len(log)))
        _, _, steps = following.answered(Stretch(at(len(log)), entries))
        take(steps)

    def take(steps):
        nonlocal missed
        for step in steps:
            if isinstance(step, Gap):
                missed += step.missed
            else:
                assert step.data == b"%d" % step.position.offset
                delivered.append(step.position.offset)

    for action in data.draw(st.lists(st.sampled_from(["publish", "lose", "answer", "again"]))):
        if action in ("publish", "lose"):
            log.append(b"%d" % (len(log) + 1))
        if action == "publish":
            steps = following.received(at(len(log)), log[-1])
            take(steps or ())
        elif action == "answer" and following.waits:
            answer()
        elif action == "again":
            following.forget_held()
    following.ask()
    answer()
    assert delivered == sorted(set(delivered))
    heard = following.position.offset
    assert heard == len(log)
    if delivered:
        first = min(delivered)
        assert len(delivered) + missed >= heard - first + 1
        assert len(delivered) + missed <= heard - start
