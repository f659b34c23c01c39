"""A1 to A11: what a backend may send, and must not, from a scripted one."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from tests.faults.scripted_fastcgi import (
    BEGIN,
    CLOSE,
    END,
    RESET,
    STDERR,
    STDOUT,
    TEXT,
    Hold,
    Wait,
    answer,
    end,
    record,
    slices,
    stdout,
)

DEADLINE = 1.0
LOST = (502, "the backend closed the connection")
BAD = (502, "bad answer from the backend")
FAST = {"pool": {"response_timeout": f"{DEADLINE}s"}}


def cpu(pid):
    """Seconds of processor time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


def assert_refused(s, name, *steps, expected=BAD, deadline=0.0):
    """The script of these steps is this error for the client, and ran once."""
    error = s.error(s.peer.play(name, *steps), deadline)
    assert (error.status, error.reason) == expected
    assert s.peer.ran(name) == 1
    return error


@pytest.mark.case("A1")
def test_an_answer_in_pieces_of_one_byte_is_the_same_answer(stages, outcome):
    s = stages.scripted(**FAST)
    body = bytes(range(32, 127)) * 10
    whole = record(STDERR, b"a word") + stdout(TEXT + body, 300) + record(STDOUT) + end()
    with s.client() as client:
        figures = []
        for name, steps in ((b"whole", (whole,)), (b"sliced", tuple(slices(whole)))):
            s.peer.play(name, *steps)
            before = cpu(s.wsgate.pid)
            for _ in range(5):
                client.send_message(name)
                assert client.receive_message() == body
            figures.append((cpu(s.wsgate.pid) - before) / 5)
    per_byte = (figures[1] - figures[0]) / len(whole) * 1e6
    # Each piece is one turn of the reactor, so twice the time of a whole answer cannot be had.
    assert per_byte < 500
    outcome(f"identical; {len(whole)} pieces cost {max(per_byte, 0):.0f} µs of CPU each")


@pytest.mark.case("A2")
@pytest.mark.parametrize("place", ["before", "between", "after"])
def test_stderr_changes_no_message_and_is_logged_short_and_escaped(stages, outcome, place):
    s = stages.scripted(**FAST)
    mark = f"spoken {place}"
    said = (f"{mark}\r\n\x1b[31mred\x00\x7f\x85".encode("latin-1") + b"e" * 65500)[:65528]
    parts = [stdout(TEXT + b"one "), stdout(b"two")]
    parts.insert(("before", "between", "after").index(place), record(STDERR, said))
    name = s.peer.play(b"stderr " + place.encode(), *parts, end())
    assert s.ask(name) == b"one two"
    (line,) = s.log_of(mark)
    assert "red" in line
    assert len(line) < 9 * 1024
    outcome(f"64 KiB {place} STDOUT: message intact, one line of {len(line)} characters")


@pytest.mark.case("A3")
def test_every_padding_and_every_size_of_record_is_read(stages, outcome):
    s = stages.scripted(**FAST)
    with s.client() as client:
        for padding in range(256):
            name = s.peer.play(
                b"padding %d" % padding,
                record(STDOUT, TEXT + b"padded ", padding=padding),
                record(STDERR, b"", padding=padding),
                record(STDOUT, b"twice", padding=padding),
                record(STDOUT, b"", padding=padding),
                end(padding=padding),
            )
            client.send_message(name)
            assert client.receive_message() == b"padded twice"
        for padding in (0, 1, 255):
            body = b"x" * (65535 - len(TEXT))
            s.peer.play(b"longest", record(STDOUT, TEXT + body, padding=padding), end())
            client.send_message(b"longest")
            assert client.receive_message() == body
    outcome("256 paddings and 65535 + 255 bytes: identical")


CUTS = {
    "after the header": [stdout(TEXT)],
    "in the body": [stdout(TEXT + b"half")],
    "in a record": [stdout(TEXT + b"half")[:-1]],
    "before END_REQUEST": [stdout(TEXT + b"whole"), record(STDOUT)],
    "in END_REQUEST": [stdout(TEXT + b"whole"), end()[:-1]],
}


@pytest.mark.case("A4")
@pytest.mark.parametrize("cut", [CLOSE, RESET])
def test_an_answer_that_is_cut_off_is_an_error_and_no_part_of_a_message(stages, outcome, cut):
    s = stages.scripted(**FAST)
    seconds = [
        assert_refused(s, f"{cut} {name}".encode(), *parts, cut, expected=LOST).seconds
        for name, parts in CUTS.items()
    ]
    outcome(f"{len(CUTS)} places, {cut}: error 502 within {max(seconds) * 1e3:.0f} ms, 1 run each")


@pytest.mark.case("A5")
def test_a_reset_before_the_first_byte_is_an_error_and_one_run(stages, outcome):
    s = stages.scripted(**FAST)
    accepted = s.peer.accepted
    error = assert_refused(s, b"reset", RESET, expected=LOST)
    assert s.peer.accepted == accepted + 1
    outcome(f"error 502 after {error.seconds * 1e3:.0f} ms; 1 connection, 1 run")


OVERLOADED = (503, "overloaded, try again later")
STATUSES = {1: (OVERLOADED, 1013), 2: (OVERLOADED, 1013), 3: (BAD, 1011), 9: (BAD, 1011)}


@pytest.mark.case("A6")
@pytest.mark.parametrize("status", STATUSES)
def test_an_end_that_is_no_answer_is_an_error_of_its_kind(stages, outcome, status):
    s = stages.scripted(**FAST)
    expected, code = STATUSES[status]
    name = b"status %d" % status
    assert_refused(s, name, stdout(TEXT + b"never"), end(0, status), expected=expected)
    with s.client("/close") as client:
        client.send_message(name)
        frame = client.receive_frame()
    assert (frame.opcode, int.from_bytes(frame.payload[:2], "big")) == (8, code)
    outcome(f"protocol status {status}: error {expected[0]}, close {code}")


@pytest.mark.case("A6")
def test_an_application_status_is_no_failure(stages, outcome):
    s = stages.scripted(**FAST)
    assert s.ask(s.peer.play(b"app", stdout(TEXT + b"said"), end(255, 0))) == b"said"
    outcome("application status 255: answered")


MALFORMED = {
    "nothing at all": b"",
    "no header": b"only a body",
    "a header without end": b"Content-type: text/plain\r\nX: y",
    "33 KiB of header": b"X: " + b"y" * 33 * 1024 + b"\r\n\r\nbody",
    "Status: abc": b"Status: abc\r\n\r\nbody",
    "Status: 99": b"Status: 99\r\n\r\nbody",
    "Status: 1000": b"Status: 1000\r\n\r\nbody",
    "two Status": b"Status: 200 OK\r\nStatus: 200 OK\r\n\r\nbody",
    "a folded line": b"X: y\r\n z\r\n\r\nbody",
    "a space before the colon": b"X : y\r\n\r\nbody",
    "a bare CR": b"X: y\rZ: 1\r\n\r\nbody",
    "a NUL": b"X: \0\r\n\r\nbody",
}


@pytest.mark.case("A7")
def test_output_that_is_no_cgi_response_is_an_error(stages, outcome):
    s = stages.scripted(**FAST)
    for name, output in MALFORMED.items():
        assert_refused(s, name.encode(), stdout(output), end())
    outcome(f"{len(MALFORMED)} malformed headers: error 502, nothing forwarded")


@pytest.mark.case("A7")
def test_every_usual_end_of_a_header_is_read_however_it_is_split(stages, outcome):
    s = stages.scripted(**FAST)
    ends = (b"\n\n", b"\r\n\r\n", b"\n\r\n", b"\r\n\n")
    with s.client() as client:
        for index, header_end in enumerate(ends):
            output = b"Content-type: text/plain" + header_end + b"body\r\n\r\nto the end"
            for at in range(1, len(output)):
                name = b"%d %d" % (index, at)
                s.peer.play(name, stdout(output[:at]), stdout(output[at:]), end())
                client.send_message(name)
                assert client.receive_message() == b"body\r\n\r\nto the end"
    outcome("4 ends of a header, split at every byte: read")


@pytest.mark.case("A8")
def test_a_status_with_a_body_is_an_answer_below_500_and_an_error_from_there(stages, outcome):
    s = stages.scripted(**FAST)
    for status in (403, 404, 422):
        head = b"Status: %d Some\r\nContent-type: text/plain\r\n\r\n" % status
        assert s.ask(s.peer.play(b"%d" % status, answer(b"the script's", head))) == b"the script's"
    for status in (500, 502, 503):
        head = b"Status: %d Some\r\nContent-type: text/plain\r\n\r\n" % status
        expected = (status, "the script failed")
        assert_refused(s, b"%d" % status, answer(b"secret", head), expected=expected)
    outcome("4xx: the script's own answer; 5xx: error of that status, body hidden")


WRONG = {
    "version 2": record(STDOUT, TEXT, version=2),
    "version 0": record(STDOUT, TEXT, version=0),
    "type 12": record(12, b"?"),
    "id 0": record(STDOUT, TEXT, request_id=0),
    "id 2": record(STDOUT, TEXT, request_id=2),
    "END of id 2": record(END, bytes(8), request_id=2),
    "BEGIN": record(BEGIN, b"\0\1\0\0\0\0\0\0"),
    "STDIN": record(5, b"?"),
    "a short END": record(END, bytes(7)),
    "a long END": record(END, bytes(9)),
    "HTTP": b"HTTP/1.1 400 Bad Request\r\n\r\n",
    "zeros": bytes(64),
}


@pytest.mark.case("A9")
@pytest.mark.parametrize("keep", [False, True], ids=["closed", "kept"])
def test_what_no_application_may_send_is_an_error_and_the_end_of_the_connection(
    stages, outcome, keep
):
    s = stages.scripted(pool={"keep_connections": keep, "response_timeout": f"{DEADLINE}s"})
    for name, output in WRONG.items():
        release = threading.Event()
        # It does not close by itself; the gateway must.
        assert_refused(s, name.encode(), output + answer(b"never"), Hold(release))
        release.set()
    outcome(f"{len(WRONG)} wrong records, connections {'kept' if keep else 'closed'}: error 502")


@pytest.mark.case("A10")
@pytest.mark.parametrize("keep", [False, True], ids=["closed", "kept"])
@pytest.mark.parametrize("extra", [b"x", record(STDOUT, b"more"), end(), bytes(8)])
def test_bytes_after_the_end_cost_the_connection_and_not_the_answer(stages, outcome, keep, extra):
    s = stages.scripted(pool={"keep_connections": keep, "response_timeout": f"{DEADLINE}s"})
    name = b"surplus %d" % len(extra)
    with s.client() as client:
        for number in range(3):
            s.peer.play(name + b" %d" % number, answer(b"good") + extra)
            client.send_message(name + b" %d" % number)
            assert client.receive_message() == b"good"
            client.send_message(b"next")
            assert client.receive_message() == b"next"
    if len(extra) == 1:
        outcome(f"delivered, the connection discarded; connections {'kept' if keep else 'closed'}")


@pytest.mark.case("A11")
def test_a_wrong_content_length_is_an_error(stages, outcome):
    s = stages.scripted(**FAST)
    for claimed in (0, 3, 5, 10**6):
        head = b"Content-Length: %d\r\n\r\n" % claimed
        assert_refused(s, b"claims %d" % claimed, answer(b"four", head))
    assert s.ask(s.peer.play(b"right", answer(b"four", b"Content-Length: 4\r\n\r\n"))) == b"four"
    outcome("too small and too large: error 502; right: answered")


@pytest.mark.case("A18")
def test_a_silent_backend_is_an_error_at_the_deadline_and_its_late_answer_is_dropped(
    stages, outcome
):
    s = stages.scripted(**FAST)
    given_up, over = threading.Event(), threading.Event()

    def late(_):
        given_up.wait(30)
        try:
            yield answer(b"late")
        finally:
            over.set()

    with s.client() as client:
        error = s.error_on(client, s.peer.play(b"late", script=late), DEADLINE)
        assert (error.status, error.reason) == (504, "the backend took too long")
        assert error.seconds >= DEADLINE
        client.send_message(b"next")
        assert client.receive_message() == b"next"
        given_up.set()
        assert over.wait(10)
        client.send_message(b"after it")
        assert client.receive_message() == b"after it"
    outcome(f"response_timeout 1 s: error 504 after {error.seconds:.2f} s, late answer dropped")


@pytest.mark.case("A19")
def test_an_endless_answer_is_an_error_at_its_deadline_or_its_limit(stages, outcome):
    s = stages.scripted(
        pool={"response_timeout": f"{DEADLINE}s"}, limits={"max_answer_size": "1MiB"}
    )

    def drips(_):
        yield stdout(TEXT)
        while True:
            yield stdout(b"drop")
            yield Wait(0.02)

    def pours(_):
        yield stdout(TEXT)
        while True:
            yield stdout(bytes(65528))

    s.peer.play(b"drips", script=drips)
    s.peer.play(b"pours", script=pours)
    slow = s.error(b"drips", DEADLINE)
    assert (slow.status, slow.reason) == (504, "the backend took too long")
    fast = s.error(b"pours", DEADLINE)
    assert (fast.status, fast.reason) == (502, "the answer is too large")
    stages.watch(s).memory = 8 * 2**20
    outcome(f"endless: error 504 after {slow.seconds:.2f} s (deadline 1 s)")
    outcome(f"endless at full speed: error 502 after {fast.seconds * 1e3:.0f} ms at the limit")


@pytest.mark.case("A19")
def test_an_answer_longer_than_a_message_may_be_is_still_delivered(stages, outcome):
    limits = {"max_message_size": "64KiB", "max_answer_size": "2MiB"}
    s = stages.scripted(limits=limits)
    for size in (64 * 1024 + 1, 2**20, 2 * 2**20 - len(TEXT)):
        assert s.ask(s.peer.play(b"%d" % size, answer(b"z" * size))) == b"z" * size
    error = s.error(s.peer.play(b"over", answer(b"z" * 2 * 2**20)))
    assert (error.status, error.reason) == (502, "the answer is too large")
    outcome("between the limits of messages and answers: delivered; one byte over: error 502")
