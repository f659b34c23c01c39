"""wsgate.fastcgi.connection: one request at a time, and END_REQUEST alone proves an answer."""

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fastcgi.fakes import answer, end, record, stderr, stdout
from tests.fastcgi.test_records import pieces
from wsgate.fastcgi import (
    ApplicationOverloaded,
    FastCGIError,
    ProtocolError,
    Request,
    Response,
    ResponseCutOff,
    ResponseNeverReceived,
    ResponseTimeout,
    ResponseTooLarge,
    encode_params,
)
from wsgate.fastcgi.connection import LONG_ANSWER, MAX_STDERR, ConnectionState, ResponderConnection
from wsgate.fastcgi.records import Record, RecordDecoder

MAX = 200_000
STREAMS = st.lists(
    st.tuples(
        st.sampled_from([6, 7]),
        st.binary(max_size=40) | st.sampled_from([bytes(65535)]),
        st.integers(0, 255),
    ),
    max_size=3,
)


def active(max_answer_size=MAX, keep=True):
    connection = ResponderConnection(max_answer_size)
    connection.send_request(Request(b"", b""), keep)
    return connection


def run(chunks, keep=True, max_answer_size=MAX):
    """What a whole conversation comes to: the first Response, or the type of the error."""
    connection = active(max_answer_size, keep)
    try:
        for chunk in chunks:
            response = connection.receive_data(chunk)
            if response is not None:
                return response
        connection.receive_eof()
    except FastCGIError as error:
        assert connection.state is ConnectionState.FAILED
        return type(error), error.stderr
    raise AssertionError("neither a Response nor an error")


def valid(streams, app_status):
    return b"".join(record(t, c, padding=p) for t, c, p in streams) + end(app_status)


# The request


@pytest.mark.parametrize(("keep", "flags"), [(False, 0), (True, 1)])
def test_a_request_is_begin_params_stdin_each_stream_ended_by_an_empty_record(keep, flags):
    params = encode_params([(b"A", b"1")])
    sent = ResponderConnection(MAX).send_request(Request(params, b"body"), keep)
    assert RecordDecoder().feed(sent) == [
        Record(1, 1, bytes([0, 1, flags, 0, 0, 0, 0, 0])),
        Record(4, 1, b"\x01\x01A1"),
        Record(4, 1, b""),
        Record(5, 1, b"body"),
        Record(5, 1, b""),
    ]
    assert len(sent) == 5 * 8 + 8 + 4 + 4


@pytest.mark.parametrize("size", [0, 1, 65527, 65528, 65529, 131071])
def test_stdin_of_any_length_is_sent_whole(size):
    stdin = bytes(n % 256 for n in range(size))
    records = RecordDecoder().feed(
        ResponderConnection(MAX).send_request(Request(b"", stdin), False)
    )
    assert b"".join(r.content for r in records if r.type == 5) == stdin
    assert records[-1] == Record(5, 1, b"")
    assert sum(r == Record(5, 1, b"") for r in records) == 1


def test_a_second_request_before_the_answer_is_our_bug():
    with pytest.raises(RuntimeError, match="ACTIVE"):
        active().send_request(Request(b"", b""), True)


def test_a_request_on_a_closed_or_failed_connection_is_our_bug():
    closed = active(keep=False)
    closed.receive_data(answer())
    failed = active()
    failed.time_out()
    for connection in (closed, failed):
        with pytest.raises(RuntimeError, match=r"CLOSED|FAILED"):
            connection.send_request(Request(b"", b""), True)


# The answer


def test_the_common_answer_is_one_stdout_record_and_end_request():
    assert run([answer(b"text")]) == Response(b"text", b"", 0)
    assert run([stdout(b"text", padding=4) + end()]) == Response(b"text", b"", 0)


def test_end_request_alone_is_an_empty_answer():
    assert run([end()]) == Response(b"", b"", 0)
    assert run([stdout(b"") + end()]) == Response(b"", b"", 0)
    assert run([stdout(b"") + stderr(b"") + end()]) == Response(b"", b"", 0)


def test_the_application_status_is_handed_on():
    assert run([stdout(b"x") + end(0xFFFFFFFF)]).app_status == 0xFFFFFFFF


def test_stderr_before_between_and_after_stdout_is_kept_apart():
    data = stderr(b"1") + stdout(b"a") + stderr(b"2") + stdout(b"b") + stderr(b"3") + end()
    assert run([data]) == Response(b"ab", b"123", 0)


@pytest.mark.parametrize("size", [MAX_STDERR - 1, MAX_STDERR, MAX_STDERR + 1, 65535])
def test_at_most_8_kib_of_stderr_are_kept(size):
    data = stderr(b"x" * size) + stderr(b"y") + end()
    expected = (b"x" * size + b"y")[:MAX_STDERR]
    assert run([data]).stderr == expected


def test_what_looks_like_end_request_inside_stdout_ends_nothing():
    assert run([stdout(end()) + end()]) == Response(end(), b"", 0)
    assert run([stdout(end())])[0] is ResponseCutOff
    assert run([stdout(b"abc" + end() + end(), padding=16) + end()]).stdout == b"abc" + end() * 2


@given(STREAMS, st.integers(0, 2**32 - 1), st.lists(st.integers(0), max_size=10), st.booleans())
def test_any_split_of_a_valid_answer_gives_the_same_response(streams, app_status, cuts, keep):
    data = valid(streams, app_status)
    expected = Response(
        b"".join(c for t, c, _ in streams if t == 6),
        b"".join(c for t, c, _ in streams if t == 7)[:MAX_STDERR],
        app_status,
    )
    assert run([data], keep) == run(pieces(data, cuts), keep) == expected


@given(STREAMS, st.data(), st.lists(st.integers(0), max_size=4))
def test_any_strict_prefix_of_an_answer_followed_by_eof_is_an_error(streams, data, cuts):
    whole = valid(streams, 0)
    prefix = whole[: data.draw(st.integers(0, len(whole) - 1))]
    error, _ = run(pieces(prefix, cuts))
    assert error is (ResponseCutOff if prefix else ResponseNeverReceived)


@given(
    st.lists(
        st.binary(max_size=30)
        | st.builds(
            record,
            st.sampled_from([1, 2, 3, 6, 6, 6, 7, 7, 11, 200]),
            st.binary(max_size=12),
            id=st.sampled_from([0, 1, 1, 1, 1, 2]),
            padding=st.integers(0, 9),
        )
        | st.builds(end, protocol_status=st.integers(0, 5)),
        max_size=8,
    ),
    st.lists(st.integers(0), max_size=8),
)
def test_any_split_of_garbage_ends_in_the_same_error_or_response(parts, cuts):
    data = b"".join(parts)
    assert run([data], max_answer_size=20) == run(pieces(data, cuts), max_answer_size=20)


def test_a_chunk_of_no_bytes_is_no_answer():
    connection = active()
    assert connection.receive_data(b"") is None
    with pytest.raises(ResponseNeverReceived):
        connection.receive_eof()


# Limits


@pytest.mark.parametrize("split", [False, True])
def test_an_answer_of_the_maximum_size_is_taken_and_one_byte_more_is_not(split):
    for size in (9, 10):
        data = answer(bytes(size))
        assert run([data[:5], data[5:]] if split else [data], max_answer_size=10).stdout == bytes(
            size
        )
    for data in (answer(bytes(11)), stdout(bytes(10)) + stdout(b"x") + end()):
        assert run([data[:5], data[5:]] if split else [data], max_answer_size=10) == (
            ResponseTooLarge,
            b"",
        )


def test_memory_stays_bounded_by_the_limits_whatever_comes():
    connection = active(1000)
    piece = (stdout(b"ab") + stderr(b"cd") + stdout(b"")) * 600 + stderr(bytes(60000))
    for _ in range(2):
        # The limit is passed within the first chunk; those after it must be refused, not kept.
        with pytest.raises((ResponseTooLarge, ProtocolError)):
            connection.receive_data(piece)
    flood = active(1000)
    for _ in range(1000):
        assert flood.receive_data(stdout(b"") * 100 + stderr(bytes(60000))) is None
    for flooded in (connection, flood):
        assert kept_bytes(flooded) < 1000 + MAX_STDERR + 66_000


def kept_bytes(connection):
    kept = connection._stdout, connection._stderr, connection._decoder._buffer
    return sum(map(sys.getsizeof, kept))


# Violations


@pytest.mark.parametrize(
    "data",
    [
        record(1, bytes(8)),
        record(2),
        record(4),
        record(5, b"x"),
        record(8, b"x"),
        record(9),
        record(10),
        record(11, bytes(8)),
        record(12),
        record(0),
        record(255),
        stdout(b"x", id=0),
        stdout(b"x", id=2),
        stderr(b"x", id=256),
        end(id=0),
        end(id=2),
        record(11, bytes(8), id=0),
        record(3, bytes(7)),
        record(3, bytes(9)),
        record(3),
        stdout(b"x", version=0),
        b"HTTP/1.1 502 Bad Gateway\r\n",
    ],
)
def test_what_no_application_may_send_is_an_error(data):
    assert run([data]) == (ProtocolError, b"")
    assert run([stdout(b"good") + data + end()])[0] is ProtocolError
    assert run([stderr(b"why") + data]) == (ProtocolError, b"why")


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (1, ApplicationOverloaded),
        (2, ApplicationOverloaded),
        (3, ProtocolError),
        (4, ProtocolError),
        (255, ProtocolError),
    ],
)
def test_another_protocol_status_is_no_answer(status, error):
    assert run([end(protocol_status=status)]) == (error, b"")
    assert run([stderr(b"why") + stdout(b"x") + end(protocol_status=status)]) == (error, b"why")


def test_the_error_of_an_unknown_role_names_it():
    with pytest.raises(ProtocolError, match="UNKNOWN_ROLE"):
        active().receive_data(end(protocol_status=3))


# After the answer


def test_a_kept_connection_is_reusable_and_keeps_nothing_of_the_first_answer():
    connection = active()
    connection.receive_data(stderr(b"e") + stdout(b"first") + end(7))
    assert connection.state is ConnectionState.IDLE
    connection.send_request(Request(b"", b""), True)
    assert connection.state is not ConnectionState.IDLE
    assert connection.receive_data(end()) == Response(b"", b"", 0)
    connection.send_request(Request(b"", b""), True)
    with pytest.raises(ResponseNeverReceived):
        connection.receive_eof()


@pytest.mark.parametrize("data", [answer(), stderr(b"x") + answer()])
def test_a_connection_that_is_not_kept_is_closed_after_the_answer(data):
    connection = active(keep=False)
    assert connection.receive_data(data)
    assert connection.state is ConnectionState.CLOSED
    connection.receive_eof()


@pytest.mark.parametrize("surplus", [b"\x01", b"\x00", b"x" * 100, stdout(b"late"), end()])
@pytest.mark.parametrize("keep", [False, True])
def test_bytes_after_end_request_spoil_the_connection_and_not_the_answer(surplus, keep):
    connection = active(keep=keep)
    assert connection.receive_data(answer(b"text") + surplus) == Response(b"text", b"", 0)
    assert connection.surplus
    assert connection.state is not ConnectionState.IDLE
    with pytest.raises(ProtocolError):
        connection.receive_data(b"more")


def test_padding_of_end_request_is_no_surplus():
    connection = active()
    connection.receive_data(stdout(b"text") + end(padding=255))
    assert connection.state is ConnectionState.IDLE
    assert not connection.surplus


def test_bytes_while_idle_are_an_error():
    connection = active()
    connection.receive_data(answer())
    with pytest.raises(ProtocolError, match="answer no request"):
        connection.receive_data(stdout(b"late"))
    assert connection.state is ConnectionState.FAILED


def test_the_end_of_an_idle_connection_is_no_error():
    connection = ResponderConnection(MAX)
    connection.receive_eof()
    assert connection.state is ConnectionState.CLOSED
    connection.receive_eof()


def test_the_end_of_a_failed_connection_is_no_second_error():
    connection = active()
    connection.time_out()
    connection.receive_eof()


def test_a_timeout_says_how_far_the_answer_got():
    connection = active()
    connection.receive_data(stdout(b"12345") + stderr(b"slow"))
    error = connection.time_out()
    assert isinstance(error, ResponseTimeout)
    assert (str(error), error.stderr) == (
        "no END_REQUEST in time; so far 5 bytes of STDOUT without END_REQUEST",
        b"slow",
    )
    assert connection.state is ConnectionState.FAILED


def test_requests_and_responses_are_shown_without_their_content():
    assert repr(Request(b"12", b"345")) == "<Request: 2 bytes of params, 3 of stdin>"
    assert (
        repr(Response(b"12", b"345", 6)) == "<Response: 2 bytes of stdout, 3 of stderr, status 6>"
    )


def long_answer(body, step=40_000):
    return run(
        [
            *(stdout(body[at : at + step]) for at in range(0, len(body), step)),
            end(),
        ],
        max_answer_size=4 * LONG_ANSWER,
    )


@pytest.mark.parametrize("step", [1000, 40_000, 65_535])
def test_a_long_answer_says_whether_it_is_utf8(step):
    text = "é€😀x".encode() * (LONG_ANSWER // 10 + 1)
    assert long_answer(text, step) == Response(text, b"", 0, is_utf8=True)
    assert not long_answer(text[:-2], step).is_utf8
    assert not long_answer(text[:100] + b"\xff" + text, step).is_utf8
    assert not long_answer(text + b"\xff", step).is_utf8


def test_whether_an_answer_is_utf8_is_looked_at_above_256_kib_only():
    assert not long_answer(b"x" * LONG_ANSWER).is_utf8
    assert long_answer(b"x" * (LONG_ANSWER + 1)).is_utf8


def test_an_answer_is_judged_by_its_own_bytes():
    connection = active(4 * LONG_ANSWER)
    for body, is_utf8 in ((b"\xff", False), (b"x", True), (b"\xc3", False), (b"y", True)):
        for _ in range(0, LONG_ANSWER * 2, 32768):
            connection.receive_data(stdout(body * 32768))
        assert connection.receive_data(end()).is_utf8 is is_utf8
        connection.send_request(Request(b"", b""), True)
