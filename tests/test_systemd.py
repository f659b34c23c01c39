"""What systemd is told, through a socket of the test's own."""

import os
import socket

import pytest
from twisted.internet.task import Clock

from wsgate.systemd import Systemd


class Manager:
    """Listens as systemd does."""

    def __init__(self, address):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(address)
        self.socket.setblocking(False)

    def told(self):
        """All that came, as sets of lines."""
        messages = []
        while True:
            try:
                messages.append(self.socket.recv(4096).decode().split("\n"))
            except BlockingIOError:
                return messages


@pytest.fixture(params=["path", "abstract"])
def address(request, tmp_path):
    return str(tmp_path / "notify") if request.param == "path" else f"@wsgate-test-{os.getpid()}"


@pytest.fixture
def manager(address):
    made = Manager(address.replace("@", "\0", 1))
    yield made
    made.socket.close()


def make(address, **more):
    clock = Clock()
    return clock, Systemd(clock, {"NOTIFY_SOCKET": address, **more}, lambda: "2 connections")


def test_it_is_ready_when_the_service_is(manager, address):
    clock, systemd = make(address)
    ready = []
    systemd.start(lambda: bool(ready))
    clock.advance(0.1)
    assert not any("READY=1" in message for message in manager.told())
    ready.append(1)
    clock.advance(0.1)
    assert manager.told() == [["READY=1", "STATUS=2 connections"]]


@pytest.mark.parametrize("pid", [None, str(os.getpid())])
def test_a_sign_of_life_goes_out_twice_in_the_watchdog_s_time(manager, address, pid):
    more = {"WATCHDOG_USEC": "3000000"} | ({"WATCHDOG_PID": pid} if pid else {})
    clock, systemd = make(address, **more)
    systemd.start(lambda: True)
    manager.told()
    for _ in range(4):
        clock.advance(1.5)
        assert manager.told() == [["WATCHDOG=1", "STATUS=2 connections"]]


def test_another_process_s_watchdog_is_not_ours(manager, address):
    clock, systemd = make(address, WATCHDOG_USEC="3000000", WATCHDOG_PID="1")
    systemd.start(lambda: True)
    manager.told()
    clock.advance(9.9)
    assert manager.told() == []
    clock.advance(0.1)
    assert len(manager.told()) == 1


def test_a_reload_says_since_when_and_when_it_is_over(manager, address):
    _, systemd = make(address)
    systemd.reloading()
    systemd.ready()
    (first, since), (second, _) = manager.told()
    assert (first, second) == ("RELOADING=1", "READY=1")
    assert since.startswith("MONOTONIC_USEC=")


def test_nothing_is_ready_any_more_in_a_stop(manager, address):
    clock, systemd = make(address)
    systemd.start(lambda: False)
    manager.told()
    systemd.stopping()
    systemd.ready()
    clock.advance(1)
    assert manager.told() == [["STOPPING=1", "STATUS=stopping: 2 connections"]]


def test_without_systemd_nothing_runs():
    clock = Clock()
    systemd = Systemd(clock, {}, lambda: "")
    systemd.start(lambda: True)
    systemd.reloading()
    systemd.stopping()
    assert clock.getDelayedCalls() == []


def test_a_manager_that_has_gone_does_no_harm(tmp_path):
    _, systemd = make(str(tmp_path / "gone"))
    systemd.start(lambda: True)
    systemd.stopping()
