"""What a backend may do in the middle of a streamed answer, from a scripted one.

As for every case, nobody else notices, nothing is left over, and all is accounted for.
"""

import json
import threading

import pytest

from tests.faults.scripted_fastcgi import (
    CLOSE,
    RESET,
    STDERR,
    STDOUT,
    Hold,
    Wait,
    end,
    record,
    slices,
    stdout,
)

HEAD = b"Content-type: text/plain\r\nWsgate-Stream: lines\r\n\r\n"
LOST = (502, "the backend closed the connection")
BAD = (502, "bad answer from the backend")
LONG = (504, "the backend took too long")
LARGE = (502, "the answer is too large")
ASKED = {
    # These faults would open the breaker, which is another matter.
    "pool": {
        "response_timeout": "1s",
        "max_streams": 2,
        "max_in_flight": 8,
        "breaker_percent": 0,
        "breaker_connects": 0,
    },
    "limits": {"stream_timeout": "2s", "stream_messages": 50, "stream_bytes": "64KiB"},
}
CUTS = {
    "after the header": ([stdout(HEAD)], []),
    "in a line": ([stdout(HEAD + b"one\nha")], [b"one"]),
    "behind a line": ([stdout(HEAD), stdout(b"one\n")], [b"one"]),
    "in a record": ([stdout(HEAD + b"one\n"), stdout(b"two\n")[:-1]], [b"one"]),
    "in END_REQUEST": ([stdout(HEAD + b"one\nlast"), end()[:-1]], [b"one"]),
}


def stream(client, message):
    """Ask, and take what comes: the lines, and the status and reason of the end, if any."""
    client.send_message(message)
    lines = []
    while True:
        said = client.receive_message()
        assert not said.startswith(b'{"error"'), said
        if not said.startswith(b'{"stream":"end"'):
            lines.append(said)
            continue
        mark = json.loads(said)
        assert mark["messages"] == len(lines)
        error = mark.get("error")
        return lines, error and (error["status"], error["reason"])


@pytest.fixture
def stage(stages):
    return stages.scripted(**ASKED)


@pytest.mark.parametrize("cut", [CLOSE, RESET])
@pytest.mark.parametrize("place", CUTS)
def test_a_stream_that_is_cut_off_ends_behind_its_last_whole_line(stage, place, cut):
    steps, lines = CUTS[place]
    # Each arrives by itself, and none is thrown away by a RST.
    paused = [part for step in steps for part in (step, Wait(0.05))]
    name = stage.peer.play(f"{place} {cut}".encode(), *paused, cut)
    with stage.client() as client:
        assert stream(client, name) == (lines, LOST)
        # The connection goes on.
        client.send_message(b"next")
        assert client.receive_message() == b"next"
    assert stage.peer.ran(name) == 1


def test_a_stream_in_pieces_of_one_byte_is_the_same_stream(stage):
    data = stdout(HEAD + b"one\r\nt") + record(STDERR, b"a note") + stdout("wö\nlast".encode())
    with stage.client() as client:
        for name, steps in ((b"whole", [data + end()]), (b"bytes", slices(data + end()))):
            stage.peer.play(name, *steps)
            assert stream(client, name) == ([b"one", "twö".encode(), b"last"], None)


def test_wrong_utf8_in_the_third_line_ends_the_stream_behind_the_second(stage):
    name = stage.peer.play(
        b"utf8", stdout(HEAD + b"one\ntwo\n"), stdout(b"\xff\nfour\n"), Hold(threading.Event())
    )
    with stage.client() as client:
        assert stream(client, name) == ([b"one", b"two"], BAD)


@pytest.mark.parametrize("garbage", [b"HTTP/1.1 200 OK", record(STDOUT, b"x\n", request_id=2)])
def test_what_is_no_fastcgi_ends_the_stream(stage, garbage):
    name = stage.peer.play(
        b"garbage " + garbage[:1], stdout(HEAD + b"one\n"), Wait(0.05), garbage, Wait(0.05)
    )
    with stage.client() as client:
        assert stream(client, name) == ([b"one"], BAD)


def test_silence_longer_than_response_timeout_ends_the_stream_and_shorter_does_not(stage):
    held = Hold(threading.Event())
    slow = [step for n in range(2) for step in (stdout(b"%d\n" % n), Wait(0.7))]
    with stage.client() as client:
        stage.peer.play(b"slow", stdout(HEAD), *slow, end())
        assert stream(client, b"slow") == ([b"0", b"1"], None)
        stage.peer.play(b"silent", stdout(HEAD + b"one\n"), held)
        assert stream(client, b"silent") == ([b"one"], LONG)


def test_a_stream_that_never_ends_is_ended_and_its_backend_is_let_go(stage):
    ticks = [step for _ in range(40) for step in (stdout(b"tick\n"), Wait(0.1))]
    stage.peer.play(b"endless", stdout(HEAD), *ticks, end())
    with stage.client() as client:
        lines, error = stream(client, b"endless")
    assert error == LONG
    assert 10 < len(lines) < 40


@pytest.mark.parametrize(
    ("body", "lines", "error"),
    [
        (b"x\n" * 50, 50, None),
        (b"x\n" * 51, 50, LARGE),
        (b"x" * 65536, 1, None),
        (b"y\n" + b"x" * 65535, 1, LARGE),
    ],
)
def test_each_limit_may_be_reached_and_not_passed(stage, body, lines, error):
    name = stage.peer.play(b"%d bytes" % len(body), stdout(HEAD + body, 8184), end())
    with stage.client() as client:
        got, said = stream(client, name)
        assert (len(got), said) == (lines, error)


def test_a_client_that_resets_in_mid_stream_lets_the_backend_go(stage):
    open_before = stage.peer.open
    stage.peer.play(b"held", stdout(HEAD + b"one\n"), Hold(threading.Event()))
    for _ in range(5):
        with stage.client() as client:
            client.send_message(b"held")
            assert client.receive_message() == b"one"
            client.reset()
    with stage.client() as client:
        stage.peer.play(b"after", stdout(HEAD + b"two\n"), Wait(0.01), end())
        assert stream(client, b"after") == ([b"two"], None)
    assert open_before == 0
