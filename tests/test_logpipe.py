from __future__ import annotations

import contextlib
import os
import socket

import pytest

from wsgate.logpipe import never_wait_for_reader


@pytest.fixture
def pipe():
    """The two ends of a pipe: a descriptor to read from, a text stream to write to."""
    reading, writing = os.pipe()
    with os.fdopen(writing, "w", buffering=1) as stream:
        yield reading, stream
        # What is still in the stream's buffer has room at its end.
        os.set_blocking(reading, False)
        with contextlib.suppress(BlockingIOError):
            os.read(reading, 2**20)
    os.close(reading)


def fill(stream):
    """Write lines until one is refused; how many were not."""
    for number in range(10_000):
        try:
            stream.write("x" * 99 + "\n")
        except BlockingIOError:
            return number
    raise AssertionError("a pipe holds less than a megabyte")


def test_a_line_for_a_full_pipe_is_refused_at_once(pipe):
    reading, stream = pipe
    never_wait_for_reader([stream])
    assert 600 < fill(stream) < 700
    assert set(os.read(reading, 65536).decode().splitlines()) == {"x" * 99}


def test_a_pipe_that_is_read_again_takes_lines_again(pipe):
    reading, stream = pipe
    never_wait_for_reader([stream])
    fill(stream)
    os.read(reading, 65536)
    assert stream.write("again\n") == 6
    assert os.read(reading, 65536).decode().endswith("again\n")


def test_a_socket_is_not_waited_for_either():
    near, far = socket.socketpair()
    with near, far, near.makefile("w", buffering=1) as stream:
        never_wait_for_reader([stream])
        assert fill(stream) > 0


def test_a_file_stays_as_it_is(tmp_path):
    with (tmp_path / "log").open("w") as log:
        write = log.write
        never_wait_for_reader([log])
        assert os.get_blocking(log.fileno())
        assert log.write == write


def test_a_stream_that_is_closed_or_missing_is_passed_over(tmp_path):
    with (tmp_path / "log").open("w") as closed:
        pass
    never_wait_for_reader([None, closed])
