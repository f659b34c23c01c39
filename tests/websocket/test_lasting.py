"""wsgate.websocket.lasting: idle_timeout and max_connection_age."""

import pytest

from tests.websocket.test_protocol import CLOSE, PONG, TEXT, Gateway, close_frame, frame


def opened(**options):
    gateway = Gateway(ping_interval=0, **options)
    gateway.open()
    return gateway


def pass_time(gateway, seconds):
    for _ in range(round(seconds * 5)):
        gateway.clock.advance(0.2)


def hits(gateway, limit):
    return gateway.factory.counts.limits[limit]


# -- idle


def test_a_connection_without_messages_is_closed_with_1000():
    gateway = opened(idle_timeout=60)
    pass_time(gateway, 59)
    assert gateway.sent() == b""
    pass_time(gateway, 17)
    assert close_frame(gateway) == (1000, b"no message for a long time")
    assert hits(gateway, "idle_timeout") == 1
    gateway.lose()
    assert len(gateway.factory.timeouts) == 0


def test_each_message_begins_the_time_anew_and_pongs_do_not():
    gateway = opened(idle_timeout=60)
    for _ in range(5):
        pass_time(gateway, 50)
        gateway.receive(frame(TEXT, b"x"))
        gateway.pool.answer(b"y")
        assert gateway.sent_frames() == [(TEXT, b"y")]
    pass_time(gateway, 59)
    gateway.receive(frame(PONG))
    assert gateway.sent() == b""
    pass_time(gateway, 17)
    assert close_frame(gateway)[0] == 1000


def test_who_waits_for_php_or_sends_a_long_message_is_not_idle():
    gateway = opened(idle_timeout=4)
    gateway.receive(frame(TEXT, b"x"))
    pass_time(gateway, 20)
    gateway.pool.answer(b"y")
    assert [opcode for opcode, _ in gateway.sent_frames()] == [TEXT]
    gateway.receive(frame(TEXT, b"x", False))
    pass_time(gateway, 20)
    assert gateway.sent() == b""
    gateway.receive(frame(0, b"") + frame(2, b"x" * 70_000)[:1000])
    gateway.pool.answer(b"y")
    pass_time(gateway, 20)
    assert [opcode for opcode, _ in gateway.sent_frames()] == [TEXT]


# -- age


@pytest.mark.parametrize("_", range(10))
def test_an_old_connection_is_closed_with_1012_between_nine_tenths_of_its_age_and_all(_):
    gateway = opened(max_connection_age=100)
    pass_time(gateway, 89.8)
    assert gateway.sent() == b""
    pass_time(gateway, 10.6)
    assert close_frame(gateway) == (1012, b"connect again")
    assert hits(gateway, "max_connection_age") == 1


def test_connections_that_came_together_do_not_go_together():
    gateway = Gateway(max_connection_age=1000, ping_interval=0, max_connections_per_address=0)
    gateway.factory.census = type(gateway.factory.census)(0, 0)
    transports = []
    for _ in range(100):
        gateway.connect()
        gateway.open()
        transports.append(gateway.transport)
    gone = []
    for _ in range(20):
        gone.append(sum(1 for transport in transports if transport.value()))
        gateway.clock.advance(5 if gone[-1] or gateway.clock.seconds() else 900)
    assert 5 < gone[10] < 95


def test_an_answer_that_is_due_comes_before_the_end():
    gateway = opened(max_connection_age=10)
    pass_time(gateway, 8.8)
    gateway.receive(frame(TEXT, b"x"))
    pass_time(gateway, 2)
    assert gateway.sent() == b""
    gateway.pool.answer(b"y")
    (first, second) = gateway.sent_frames()
    assert first == (TEXT, b"y")
    assert second == (CLOSE, b"\x03\xf4connect again")


def test_without_limits_a_connection_has_no_timer_for_them():
    gateway = opened()
    assert len(gateway.factory.timeouts) == 0
