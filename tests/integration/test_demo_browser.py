"""The demo page in a real Chromium, answered by real PHP through `twistd wsgate --demo`."""

import json
import socket
import subprocess
import sys

import pytest

from tests.integration.chromium import Chromium, wait_for
from tests.ports import free_port

START_DEADLINE = 30.0


def accepts(port):
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


class Demo:
    """`twistd -n wsgate --demo` as a user starts it; its output is in `folder`/log."""

    def __init__(self, folder, *options, tls=False):
        self.port = free_port()
        self.log = folder / "log"
        listen = f"{'tls' if tls else 'tcp'}:{self.port}:interface=127.0.0.1"
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self.port}/"
        program = [sys.executable, "-c", "from twisted.scripts.twistd import run; run()"]
        arguments = ["-n", "--pidfile=", "wsgate", "--demo", "--port", listen, *options]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                program + arguments, stdout=log, stderr=log, cwd=folder, stdin=subprocess.DEVNULL
            )

    def wait(self):
        def answers():
            assert self.process.poll() is None, self.log.read_text()
            return accepts(self.port)

        wait_for(f"{self.url} accepts connections", answers, START_DEADLINE)
        return self

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(30)
        finally:
            self.process.kill()
            self.process.wait()


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    running = Demo(tmp_path_factory.mktemp("demo"))
    try:
        yield running.wait()
    finally:
        running.stop()


@pytest.fixture(scope="module")
def browser():
    with Chromium() as chromium:
        yield chromium


@pytest.fixture
def page(demo, browser):
    """The demo page, just opened; at the end its console must be empty."""
    browser.open(demo.url)
    yield browser
    assert browser.console() == []


@pytest.fixture
def connected(page):
    page.click("connect")
    page.wait_text("state", "Connected")
    return page


def answers(page):
    """(text, particulars) of each answer in the log."""
    return page.run(
        """return [...document.querySelectorAll('#log [data-way=answer]')].map((entry) =>
        [entry.querySelector('.what').textContent,
         [...entry.querySelectorAll('.meta span, .meta b')].map((part) => part.textContent)])"""
    )


def next_answer(page, count=1):
    """The last answer, once there are `count`."""
    found = wait_for(f"{count} answers", lambda: len(got := answers(page)) >= count and got)
    return found[count - 1]


def test_the_page_offers_its_own_address(page, demo):
    assert page.run("return document.getElementById('url').value") == (
        f"ws://127.0.0.1:{demo.port}/echo"
    )
    assert page.text("state") == "Not connected"


def test_the_page_shows_the_script_that_answers(page):
    assert "readfile('php://input');" in page.text("script")
    assert "{{" not in page.run("return document.body.textContent.split('use strict')[0]")


def test_a_text_is_sent_and_comes_back_with_its_latency(connected):
    text = "Grüße, <b id=xss>PHP</b> & “世界” 👋"
    # WebDriver types the basic plane only.
    connected.run("document.getElementById('message').value = arguments[0]", text)
    connected.click("send-text")
    what, particulars = next_answer(connected)
    assert what == text
    assert particulars[:3] == ["Answer", "text", f"{len(text.encode())} B"]
    assert particulars[3].endswith(" ms")
    assert particulars[4] == "identical"
    assert connected.text("sent") == connected.text("answered") == "1"
    assert connected.run("return document.getElementById('xss')") is None


def test_an_empty_text_is_answered_by_an_empty_one(connected):
    connected.type("message", "")
    connected.click("send-text")
    what, particulars = next_answer(connected)
    assert what == "(empty)"
    assert particulars[2] == "0 B"
    assert "identical" in particulars


def test_a_message_of_one_mebibyte_comes_back_whole(connected):
    connected.click("send-mib")
    _, particulars = next_answer(connected)
    assert particulars[1:3] == ["text", "1 MiB"]
    assert "identical" in particulars


def test_a_file_comes_back_as_binary_with_every_byte(connected, tmp_path):
    file = tmp_path / "all.bin"
    file.write_bytes(bytes(range(256)) * 300)
    connected.choose_file("file", file)
    connected.click("send-file")
    what, particulars = next_answer(connected)
    assert what.startswith("00 01 02 03")
    assert particulars[1:3] == ["binary", "75 KiB"]
    assert "identical" in particulars


def test_a_hundred_messages_at_once_come_back_in_order(connected):
    connected.click("send-hundred")
    what, particulars = next_answer(connected)
    assert what.startswith("100 answers, in order, in ")
    assert "100 identical" in particulars
    assert connected.text("answered") == "100"


def test_disconnecting_shows_the_code_and_the_reason_in_words(connected):
    connected.type("close-reason", "seen enough")
    connected.click("disconnect")
    assert connected.wait_text("close-word", "Closed") == (
        "Closed with code 4001, a code of the application: “seen enough”."
    )
    assert connected.text("state") == "Closed"
    connected.click("connect")
    connected.wait_text("state", "Connected")


def test_a_reason_that_is_too_long_is_refused_before_it_is_sent(connected):
    connected.type("close-reason", "é" * 62)
    connected.click("disconnect")
    assert connected.wait_text("close-word", "123 bytes")
    assert connected.text("state") == "Connected"
    connected.type("close-reason", "é" * 61)
    connected.click("disconnect")
    connected.wait_text("close-word", "Closed with code 4001")


def test_a_path_that_is_not_served_is_said_in_words(page, demo):
    page.type("url", f"ws://127.0.0.1:{demo.port}/no-such-path")
    page.click("connect")
    assert "Closed with code 1006, lost without a goodbye" in page.wait_text("close-word", "Closed")
    assert page.text("state") == "Not connected"
    assert "404" in "".join(page.console())


@pytest.mark.parametrize("url", ["ws://127.0.0.1:1/echo", "nonsense", "ftp://127.0.0.1/"])
def test_an_address_that_cannot_be_used_is_said_in_words(page, url):
    page.type("url", url)
    page.click("connect")
    page.wait_text("close-word", "This address cannot be used: ")
    assert page.text("state") == "Not connected"


@pytest.mark.parametrize(
    ("attempt", "directive"),
    [
        ("new WebSocket('ws://127.0.0.1:1/')", "connect-src"),
        ("document.body.append(Object.assign(new Image(), {src: '/x.png'}))", "img-src"),
        (
            "document.body.append(Object.assign(document.createElement('script'), {text: '1'}))",
            "script-src-elem",
        ),
    ],
)
def test_the_policy_stops_what_is_not_of_the_page(page, attempt, directive):
    stopped = page.run(
        """return new Promise((resolve) => {
          document.onsecuritypolicyviolation = (event) => resolve(event.effectiveDirective);
        """
        + attempt
        + "})"
    )
    assert stopped == directive
    assert "Content Security Policy" in "".join(page.console())


def test_the_classic_form_shows_what_php_was_given(page, demo):
    page.click("classic-send")
    wait_for("the classic answer", lambda: page.text("classic-answer"))
    answer = json.loads(page.text("classic-answer"))
    assert answer["status"] == page.text("classic-status") == "OK"
    assert answer["time"] == page.text("classic-time")
    assert answer["$_REQUEST"]["message"] == "Test message 4444"
    server = answer["$_SERVER"]
    assert server["REQUEST_METHOD"] == "POST"
    assert server["CONTENT_TYPE"] == "application/x-www-form-urlencoded"
    assert server["CONTENT_LENGTH"] == str(len("message=Test+message+4444"))
    assert server["HTTP_HOST"] == f"127.0.0.1:{demo.port}"
    assert server["WSGATE_OPCODE"] == "text"
    assert page.text("classic-sent") == "message=Test+message+4444"
    assert page.text("classic-state") == "Connected"


def test_bytes_that_are_no_text_do_not_break_the_classic_answer(page):
    answer = page.run(
        """return new Promise((resolve) => {
          const url = document.getElementById('url').value.replace('echo', 'classic');
          const socket = new WebSocket(url);
          socket.onopen = () => socket.send('message=%FF%C0&%FE=1&x[%E9]=2');
          socket.onmessage = (event) => resolve(event.data);
        })"""
    )
    message = json.loads(answer)
    assert message["status"] == "OK"
    assert message["$_REQUEST"]["message"] == "\ufffd\ufffd"


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize(("width", "height"), [(1280, 900), (375, 812), (320, 568)])
def test_nothing_is_wider_than_the_screen(connected, tmp_path, width, height, dark):
    connected.device(width, height, dark=dark)
    connected.click("send-text")
    connected.click("classic-send")
    next_answer(connected)
    wait_for("the classic answer", lambda: connected.text("classic-answer"))
    connected.screenshot(tmp_path / "page.png")
    assert (tmp_path / "page.png").stat().st_size > 10_000
    assert connected.run("return document.documentElement.scrollWidth") <= width
    connected.device(1280, 900)


def test_over_tls_the_page_connects_by_wss(browser, tmp_path):
    running = Demo(tmp_path, "--self-signed", tls=True)
    try:
        browser.open(running.wait().url)
        assert browser.run("return document.getElementById('url').value").startswith("wss://")
        browser.click("connect")
        browser.wait_text("state", "Connected")
        browser.click("send-mib")
        assert "identical" in next_answer(browser)[1]
    finally:
        running.stop()
