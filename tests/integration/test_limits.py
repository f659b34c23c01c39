"""Limits of the real process, at the bound and one past it, as clients on real sockets see it."""

import contextlib
import socket
import ssl
import time

import pytest

from tests.integration.gateway_process import eventually, gateway, twistd
from tests.integration.raw_client import RawClient

SHAKE = (
    b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
TLS = "tls:{port}:interface=127.0.0.1"
HELLO = bytes.fromhex("16030100050100000100")
"""The first bytes of a TLS handshake that never goes on."""


@pytest.fixture
def connections():
    with contextlib.ExitStack() as stack:
        yield stack


class Client:
    """A socket from an address of its own."""

    def __init__(self, running, host="127.0.0.1"):
        self.socket = socket.create_connection(("127.0.0.1", running.port), 10, (host, 0))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def shake(self):
        """The status and the head of the answer."""
        self.socket.sendall(SHAKE)
        head = b""
        while b"\r\n\r\n" not in head:
            data = self.socket.recv(4096)
            if not data:
                break
            head += data
        return int(head[9:12] or b"0"), head

    def is_ended(self):
        """Whether the connection is over, within 10 seconds; bytes before that are read."""
        try:
            while self.socket.recv(4096):
                pass
        except ConnectionResetError:
            pass
        return True


def shake(connections, running, host):
    return connections.enter_context(Client(running, host)).shake()


def test_the_last_place_of_an_address_is_given_and_the_next_is_not(connections):
    with gateway("--set=limits.max_connections_per_address=3") as running:
        answers = [shake(connections, running, "127.0.0.5") for _ in range(4)]
        assert [status for status, _ in answers] == [101, 101, 101, 503]
        assert b"\r\nRetry-After: " in answers[3][1]
        assert shake(connections, running, "127.0.0.6")[0] == 101
        assert running.ask("x") == "x"


def test_new_connections_of_an_address_come_at_a_rate(connections):
    with gateway("--set=limits.new_connections_per_address=1") as running:
        answers = [shake(connections, running, "127.0.0.5")[0] for _ in range(3)]
        assert answers == [101, 101, 503]
        assert shake(connections, running, "127.0.0.6")[0] == 101
        # A second brings one; the refused one has cost nothing.
        time.sleep(1.1)
        assert shake(connections, running, "127.0.0.5")[0] == 101
        assert running.log().count("new_connections_per_address is reached") == 1


def test_over_tls_a_client_without_a_place_is_gone_before_the_handshake(connections):
    options = ("--self-signed", "--set=limits.max_connections_per_address=1")
    with gateway(*options, port=TLS) as running:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        first = connections.enter_context(Client(running, "127.0.0.5"))
        secure = context.wrap_socket(first.socket)
        secure.sendall(SHAKE)
        assert secure.recv(4096).startswith(b"HTTP/1.1 101 ")

        def connect(host):
            client = connections.enter_context(Client(running, host))
            context.wrap_socket(client.socket).close()

        # So soon that connecting itself may fail.
        with pytest.raises((ssl.SSLError, ConnectionError)):
            connect("127.0.0.5")
        connect("127.0.0.6")
        assert "Traceback" not in running.log()
        secure.close()


@pytest.mark.parametrize("first", [b"", HELLO, "after TLS"], ids=["silence", "hello", "http"])
def test_the_time_for_a_handshake_begins_below_tls(connections, first):
    options = ("--self-signed", "--set=limits.handshake_timeout=1s")
    with gateway(*options, port=TLS) as running:
        client = connections.enter_context(Client(running))
        began = time.monotonic()
        slow = client.socket
        if first == "after TLS":
            context = ssl.create_default_context()
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            slow = client.socket = context.wrap_socket(slow)
        else:
            slow.sendall(first)
        # A byte now and then keeps nobody.
        with contextlib.suppress(OSError):
            for _ in range(30):
                slow.sendall(b"G")
                time.sleep(0.1)
        assert client.is_ended()
        assert time.monotonic() - began < 5
        assert running.process.poll() is None
        assert "Traceback" not in running.log()


def test_slow_handshakes_give_way_to_others(connections):
    with gateway("--set=limits.max_handshakes=10") as running:
        slow = [connections.enter_context(Client(running, "127.0.0.5")) for _ in range(10)]
        for client in slow:
            client.socket.sendall(b"GET / HTTP/1.1\r\n")
        time.sleep(5.2)
        for number in range(20):
            assert shake(connections, running, f"127.0.1.{number + 1}")[0] == 101
        assert slow[0].is_ended()


def test_a_flood_of_messages_comes_through_late_and_whole():
    with (
        gateway("--set=limits.messages_per_second=20") as running,
        RawClient(running.port) as client,
    ):
        running.ask_php()
        began = time.monotonic()
        client.socket.sendall(b"".join(client.frame(1, b"%d" % n) for n in range(80)))
        assert [client.receive_message() for _ in range(80)] == [b"%d" % n for n in range(80)]
        # 40 at once, then 20 a second.
        assert 1.9 <= time.monotonic() - began < 8


def test_a_flood_of_pings_is_1008_and_disturbs_nobody():
    with (
        gateway() as running,
        RawClient(running.port) as bystander,
        RawClient(running.port) as client,
    ):
        client.socket.sendall(client.frame(9, b"p") * 40)
        assert [client.receive_frame().opcode for _ in range(40)] == [10] * 40
        with contextlib.suppress(ConnectionError):
            client.socket.sendall(client.frame(9, b"p") * 100_000)
        frames = [client.receive_frame()]
        while frames[-1].opcode != 8:
            frames.append(client.receive_frame())
        assert frames[-1].payload.startswith(b"\x03\xf0")
        # A few more came within the rate while this went on.
        assert len(frames) < 20
        bystander.send_message(b"still here")
        assert bystander.receive_message() == b"still here"
        assert client.is_ended()


def test_an_idle_connection_and_an_old_one_are_closed():
    with gateway("--set=limits.idle_timeout=1s") as running, RawClient(running.port) as client:
        assert client.receive_frame().payload == b"\x03\xe8no message for a long time"
    with (
        gateway("--set=limits.max_connection_age=1s") as running,
        RawClient(running.port) as client,
    ):
        assert client.receive_frame().payload == b"\x03\xf4connect again"


def test_few_descriptors_leave_enough_for_php(connections):
    command = ["prlimit", "--nofile=200:200", twistd(), "-n", "--pidfile=", "wsgate"]
    options = (
        "--set=limits.max_connections_per_address=0",
        "--set=limits.new_connections_per_address=0",
    )
    with gateway(*options, command=command) as running:
        assert "this process may open only 200 files, so it takes 70 clients" in running.log()
        answers = [shake(connections, running, "127.0.0.1")[0] for _ in range(150)]
        assert answers == [101] * 70 + [503] * 80
        connections.close()
        eventually(lambda: shake(connections, running, "127.0.0.1")[0] == 101, 5, "places are free")
        # PHP is called on a connection that was open, and on new ones.
        for number in range(10):
            assert running.ask(str(number)) == str(number)
        assert "EMFILE" not in running.log()


def test_a_crowd_that_comes_back_at_once_is_served_and_the_rest_soon_after(connections):
    with gateway("--set=limits.new_connections_per_address=50") as running:
        clients = [connections.enter_context(Client(running, "127.0.0.5")) for _ in range(190)]
        answers = []
        for client in clients:
            with contextlib.suppress(OSError):
                answers.append(client.shake()[0])
        assert answers.count(101) >= 100
        assert set(answers) <= {101, 503, 0}
        # Those without a place come again, as they would after a pause.
        left = 190 - answers.count(101)
        began = time.monotonic()
        while left:
            with Client(running, "127.0.0.5") as probe:
                left -= probe.shake()[0] == 101
            time.sleep(0.01)
        assert time.monotonic() - began < 10
        assert running.ask("x") == "x"
