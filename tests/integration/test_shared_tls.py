"""TLS sockets that two threads share: what they send arrives, whoever reads meanwhile."""

import contextlib
import socket
import ssl
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import accumulate, cycle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.integration.shared_tls import shared
from tests.test_tls import client_context, write_pair


@pytest.fixture(scope="module")
def contexts(tmp_path_factory):
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(write_pair(tmp_path_factory.mktemp("tls"), "a.pem", "localhost"))
    return shared(client_context()), shared(server)


def relay(source, target, sizes):
    """Copy a stream, cut anew: reads of `sizes` bytes, over and over."""
    with contextlib.suppress(OSError):
        for size in cycle(sizes):
            data = source.recv(size)
            if not data:
                break
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)


@contextlib.contextmanager
def connected(contexts, there=(65536,), back=(65536,)):
    """A client and a server, and how the streams between them are cut."""
    client_context, server_context = contexts
    client, left = socket.socketpair()
    right, server = socket.socketpair()
    with contextlib.ExitStack() as stack, ThreadPoolExecutor(3) as threads:
        for end in (client, left, right, server):
            end.settimeout(20)
            stack.enter_context(end)
        threads.submit(relay, left, right, there)
        threads.submit(relay, right, left, back)
        accepted = threads.submit(server_context.wrap_socket, server, server_side=True)
        with (
            client_context.wrap_socket(client, server_hostname="localhost") as client,
            accepted.result(20) as server,
        ):
            yield client, server


def received(end, size):
    pieces = []
    while size:
        pieces.append(end.recv(65536))
        size -= len(pieces[-1])
        assert pieces[-1], "the stream ended too early"
    return b"".join(pieces)


SIZES = st.lists(st.sampled_from([1, 2, 5, 100, 1000, 16383, 65536]), min_size=1, max_size=5)
PIECES = st.lists(st.integers(1, 40_000), min_size=1, max_size=8)


@cache
def noise(size):
    return bytes(n * 7 % 251 for n in range(size))


def send_all(end, pieces):
    whole = memoryview(noise(sum(pieces)))
    for start, size in zip(accumulate(pieces, initial=0), pieces, strict=False):
        end.sendall(whole[start : start + size])


@given(SIZES, SIZES, PIECES, PIECES)
def test_both_directions_at_once_arrive_however_they_are_cut(
    contexts, cut_there, cut_back, there, back
):
    # Nothing but single bytes takes long.
    with (
        connected(contexts, [*cut_there, 65536], [*cut_back, 65536]) as (client, server),
        ThreadPoolExecutor(4) as threads,
    ):
        threads.submit(send_all, client, there)
        threads.submit(send_all, server, back)
        asked = threads.submit(received, server, sum(there))
        answered = threads.submit(received, client, sum(back))
        assert asked.result(20) == noise(sum(there))
        assert answered.result(20) == noise(sum(back))


def test_a_reader_that_waits_lets_others_write(contexts):
    with connected(contexts) as (client, server), ThreadPoolExecutor(1) as threads:
        reading = threads.submit(client.recv, 100)
        client.sendall(b"question")
        assert server.recv(100) == b"question"
        assert not reading.done()
        server.sendall(b"answer")
        assert reading.result(20) == b"answer"


def test_a_reader_ends_when_another_thread_shuts_down_or_the_other_side_ends(contexts):
    with connected(contexts) as (client, server), ThreadPoolExecutor(2) as threads:
        ours = threads.submit(client.recv, 100)
        theirs = threads.submit(server.recv, 100)
        client.shutdown(socket.SHUT_RDWR)
        assert (ours.result(20), theirs.result(20)) == (b"", b"")


def test_timeouts_are_those_of_any_socket(contexts):
    with connected(contexts) as (client, _):
        assert client.gettimeout() == 20
        client.settimeout(0.01)
        with pytest.raises(TimeoutError):
            client.recv(1)
        client.settimeout(0)
        with pytest.raises(ssl.SSLWantReadError):
            client.recv(1)


def test_no_two_threads_are_in_openssl_at_once_with_one_socket(contexts, monkeypatch):
    inside, most = Counter(), Counter()

    def counted(call):
        def counting(end, *arguments):
            inside[end] += 1
            most[end] = max(most[end], inside[end])
            try:
                return call(end, *arguments)
            finally:
                inside[end] -= 1

        return counting

    with connected(contexts) as (client, server), ThreadPoolExecutor(3) as threads:
        for name in ("read", "send"):
            monkeypatch.setattr(ssl.SSLSocket, name, counted(getattr(ssl.SSLSocket, name)))
        reading = threads.submit(received, client, 300_000)
        threads.submit(send_all, client, [1000] * 300)
        threads.submit(send_all, server, [1000] * 300)
        assert received(server, 300_000) == reading.result(20) == noise(300_000)
        assert (most[client], most[server]) == (1, 1)
