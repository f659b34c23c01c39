"""The examples as a user starts them, each by its one command, in a real Chromium."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.integration.chromium import Chromium, wait_for
from tests.integration.gateway_process import free_port, process_table

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent.parent


class Example:
    """A copy of the examples, of which one runs by its command; its output is in the file `log`.

    A copy, because PHP's user must be able to read it, and what an example writes goes with it.
    """

    def __init__(self, name, **ports):
        self.name = name
        self.folder = Path(tempfile.mkdtemp(prefix="wsgate-examples-"))
        self.folder.chmod(0o755)
        for part in ("examples", "php"):
            shutil.copytree(ROOT / part, self.folder / part)
        self.page = ports.get("page") or free_port()
        self.port = ports.get("port") or free_port()
        self.url = f"http://127.0.0.1:{self.page}/"
        # The wsgate that is tested, whichever else there is.
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        environment = {"PAGES": str(self.page), "PORT": str(self.port), "PATH": path}
        with (self.folder / "log").open("wb") as log:
            self.process = subprocess.Popen(
                [self.folder / "examples" / name / "run"],
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                cwd=self.folder,
                env={**os.environ, **environment},
                start_new_session=True,
            )

    def log(self):
        return (self.folder / "log").read_text(errors="replace")

    def wait(self):
        """Return once the page is served and wsgate has its PHP."""

        def ready():
            assert self.process.poll() is None, self.log()
            with socket.socket() as probe:
                return "answers, " in self.log() and not probe.connect_ex(("127.0.0.1", self.page))

        wait_for(f"{self.name} is ready", ready)
        return self

    def left(self):
        """The commands of its processes that still run."""
        name = str(self.folder)
        return [
            command
            for pid, (_, command) in process_table().items()
            if name in command or _folder_of(pid).startswith(name)
        ]

    def end(self):
        """What Ctrl-C does; the exit status."""
        try:
            if self.process.poll() is None:
                os.killpg(self.process.pid, signal.SIGINT)
                self.process.wait(40)
            wait_for("its programs have ended", lambda: self.left() == [])
            return self.process.returncode
        finally:
            shutil.rmtree(self.folder, ignore_errors=True)


def _folder_of(pid):
    try:
        return os.readlink(f"/proc/{pid}/cwd")
    except OSError:
        return ""


def example(name):
    running = Example(name)
    try:
        yield running.wait()
    finally:
        running.end()


@pytest.fixture(scope="module")
def chat():
    yield from example("chat")


@pytest.fixture(scope="module")
def counter():
    yield from example("counter")


@pytest.fixture(scope="module")
def notify():
    yield from example("notify")


@pytest.fixture(scope="module")
def browser():
    with Chromium() as chromium:
        yield chromium


@pytest.fixture
def page(browser):
    """A browser with one window and without cookies; its console must be empty at the end."""
    first = browser.window()
    browser.devtools("Network.clearBrowserCookies", {})
    yield browser
    browser.switch(first)
    assert browser.console() == []
    browser.open("about:blank")


def beside(browser, url):
    """A second window, which shows `url`; (the first, the second)."""
    first = browser.window()
    second = browser.new_window()
    browser.open(url)
    return first, second


def people(page):
    return page.run("return [...document.querySelectorAll('#people li')].map((e) => e.textContent)")


def said(page):
    return page.run("return [...document.querySelectorAll('#log li')].map((e) => e.innerText)")


def enter(page, name, room="lobby"):
    page.type("name", name)
    page.run("document.getElementById('room').value = arguments[0]", room)
    page.click("go")
    page.wait_text("state", f"In the {room}")
    wait_for("the own name", lambda: name in people(page))


def say(page, text):
    page.type("text", text)
    page.click("send")


def test_the_chat_is_less_than_forty_lines_of_php():
    lines = (ROOT / "examples/chat/socket.php").read_text(encoding="utf-8").splitlines()
    assert len(lines) < 40


def test_two_people_in_a_room_see_each_other_and_what_they_say(page, chat):
    page.open(chat.url)
    enter(page, "Ada")
    first, second = beside(page, chat.url)
    enter(page, "Grâce")
    wait_for("both names", lambda: people(page) == ["Ada", "Grâce"])
    say(page, "Hello <b>Ada</b> & all")
    wait_for("the own message", lambda: "Grâce\nHello <b>Ada</b> & all" in said(page))
    page.switch(first)
    wait_for("the other's message", lambda: "Grâce\nHello <b>Ada</b> & all" in said(page))
    assert people(page) == ["Ada", "Grâce"]
    assert "Grâce came in" in said(page)
    page.switch(second)
    page.close_window()
    page.switch(first)
    wait_for("who left", lambda: "Grâce left" in said(page))
    assert people(page) == ["Ada"]


def test_another_room_hears_nothing_of_it(page, chat):
    page.open(chat.url)
    enter(page, "Ada", "garden")
    first, second = beside(page, chat.url)
    enter(page, "Bob", "cellar")
    say(page, "Is anybody down here?")
    wait_for("the own message", lambda: "Bob\nIs anybody down here?" in said(page))
    assert people(page) == ["Bob"]
    page.switch(first)
    say(page, "In the garden")
    wait_for("the own message", lambda: "Ada\nIn the garden" in said(page))
    assert said(page) == ["Ada came in", "Ada\nIn the garden"]
    assert people(page) == ["Ada"]
    page.switch(second)
    page.close_window()


def test_somebody_with_two_windows_leaves_with_the_last(page, chat):
    page.open(chat.url)
    enter(page, "Ada")
    windows = [beside(page, chat.url)[1]]
    enter(page, "Eve")
    windows.append(beside(page, chat.url)[1])
    enter(page, "Eve")
    wait_for("both names", lambda: people(page) == ["Ada", "Eve"])
    page.close_window()
    page.switch(windows[0])
    # Asked after the disconnect of the other window, which runs in a lane before messages.
    say(page, "still here")
    wait_for("the own message", lambda: "Eve\nstill here" in said(page))
    assert "Eve left" not in said(page)
    assert people(page) == ["Ada", "Eve"]
    page.close_window()


def test_a_name_that_php_refuses_leads_back_to_the_form(page, chat):
    page.open(chat.url)
    page.type("name", "<script>")
    page.click("go")
    page.wait_text("state", "Not let in; try another name")
    assert "400" in "".join(page.console())
    enter(page, "Ada")


def test_the_chat_comes_back_after_wsgate_was_restarted(page):
    running = Example("chat")
    try:
        page.open(running.wait().url)
        enter(page, "Ada")
        ports = {"page": running.page, "port": running.port}
    finally:
        running.end()
    page.wait_text("state", "Connection lost, trying again")
    assert people(page) == []
    running = Example("chat", **ports)
    try:
        running.wait()
        # Its pauses have grown meanwhile.
        page.wait_text("state", "In the lobby", 60)
        wait_for("the own name", lambda: people(page) == ["Ada"])
        page.open("about:blank")
        assert "ERR_CONNECTION_REFUSED" in "".join(page.console())
    finally:
        running.end()


def test_the_counter_goes_on_in_every_window(page, counter):
    page.open(counter.url)

    def count():
        text = page.text("count").replace(",", "")
        return int(text) if text.isdigit() else -1

    page.wait_text("state", "Live")
    began = wait_for("a first number", lambda: max(count(), 0) + 1) - 1
    wait_for("the next numbers", lambda: count() >= began + 2)
    first, _ = beside(page, counter.url)
    wait_for("the number of now", lambda: count() >= began + 2)
    again = count()
    wait_for("the next", lambda: count() > again)
    page.close_window()
    page.switch(first)
    wait_for("the first window too", lambda: count() > again)
    assert re.search(r"counted to \d+, told [12]", counter.log())


def listening(page):
    # The page may be on its way still.
    state = "return document.getElementById('state')?.textContent"
    wait_for("the socket is open", lambda: page.run(state) == "Listening")


def log_in(page, url, user):
    page.open(url)
    page.run("document.getElementById('user').value = arguments[0]", user)
    page.click("login")
    listening(page)


def notices(page):
    return page.run(
        "return [...document.querySelectorAll('#notices li')].map((e) => e.textContent)"
    )


def send_notice(page, to, text):
    page.run("document.getElementById('to').value = arguments[0]", to)
    page.type("text", text)
    page.click("send")


def test_a_notice_reaches_one_user_in_each_of_their_windows_and_nobody_else(page, notify):
    log_in(page, notify.url, "ada")
    first, second = beside(page, notify.url)
    listening(page)
    with Chromium() as other:
        log_in(other, notify.url, "bob")
        send_notice(other, "ada", "Your <b>invoice</b> is ready")
        assert other.wait_text("told", "told") == "ada was told, in 2 windows."
        for window in (first, second):
            page.switch(window)
            wait_for("the notice", lambda: notices(page) == ["bob Your <b>invoice</b> is ready"])
        assert notices(other) == []
        send_notice(other, "eve", "Hello?")
        assert other.wait_text("told", "eve") == "eve has no window open."
        send_notice(other, "bob", "Note to self")
        wait_for("the own notice", lambda: notices(other) == ["bob Note to self"])
        assert other.console() == []
    page.close_window()
    page.switch(first)


def test_who_logs_out_is_told_nothing_more_in_any_window(page, notify):
    log_in(page, notify.url, "eve")
    first, second = beside(page, notify.url)
    listening(page)
    page.click("logout")
    wait_for("the log-in again", lambda: page.run("return !!document.getElementById('login')"))
    page.switch(first)
    wait_for("the log-in again", lambda: page.run("return !!document.getElementById('login')"))
    page.switch(second)
    page.close_window()


def test_without_a_log_in_there_is_no_socket(page, notify):
    page.open(notify.url)
    code = page.run(
        """return new Promise((resolve) => {
          const socket = new WebSocket(`ws://127.0.0.1:${document.body.dataset.port}/`);
          socket.onclose = (event) => resolve(event.code);
          socket.onopen = () => resolve("open");
        })"""
    )
    assert code == 1006
    assert "Authentication failed" in "".join(page.console())


@pytest.mark.parametrize("name", ["chat", "counter", "notify"])
def test_ctrl_c_ends_everything(name):
    running = Example(name)
    try:
        running.wait()
    finally:
        status = running.end()
    assert status == 0


@pytest.mark.parametrize("which", ["page", "port"])
def test_a_port_that_is_taken_is_said_in_one_line_with_the_mend(which):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        running = Example("chat", **{which: port})
        try:
            assert running.process.wait(30) == 1
            name = {"page": "PAGES", "port": "PORT"}[which]
            assert running.log() == (
                f"Port {port} is taken; choose another, like {name}={port + 1} examples/chat/run\n"
            )
        finally:
            running.end()


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize(("width", "height"), [(1280, 900), (375, 740), (320, 568)])
@pytest.mark.parametrize("name", ["chat", "counter", "notify"])
def test_nothing_is_wider_than_the_screen(page, request, name, width, height, dark):
    url = request.getfixturevalue(name).url
    page.device(width, height, dark=dark)
    if name == "notify":
        page.open(url)
        if page.run("return !!document.getElementById('login')"):
            log_in(page, url, "ada")
    else:
        page.open(url)
    if name == "chat":
        enter(page, "Ada Lovelace of Ockham")
        say(page, "x" * 200)
        wait_for("the message", lambda: len(said(page)) >= 2)
    assert page.run("return document.documentElement.scrollWidth") <= width
    page.device(1280, 900)
