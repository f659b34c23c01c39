"""docs/streams.md does what it says: its scripts and its pages, as written, in a real Chromium."""

import contextlib
import json
import threading
from functools import partial
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest

from tests.integration.chromium import Chromium, wait_for
from tests.integration.gateway_process import gateway
from tests.pages import blocks, page

PHP, PAGES = (blocks(page("streams.md"), language) for language in ("php", "html"))
PROGRESS, CHAT = PHP
TOKENS = ["The ", "sky ", "is\n", "“blue”"]


@contextlib.contextmanager
def served(handler):
    """The port of an HTTP server of this machine."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class Model(BaseHTTPRequestHandler):
    """Streams TOKENS as OpenAI's interface does, each when the test lets it."""

    protocol_version = "HTTP/1.1"
    asked: ClassVar[list[str]] = []
    let = threading.Semaphore(0)

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.asked.append(json.loads(body)["messages"][0]["content"])
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        # What a server may not use with HTTP/1.0.
        self.is_chunked = self.request_version != "HTTP/1.0"
        if self.is_chunked:
            self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for token in TOKENS:
            assert self.let.acquire(timeout=300), "the test lets the next token go"
            event = json.dumps({"choices": [{"delta": {"content": token}}]})
            self._say(f"data: {event}\n\n".encode())
        self._say(b"data: [DONE]\n\n")
        if self.is_chunked:
            self._say(b"")

    def _say(self, data):
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data) if self.is_chunked else data)

    def log_message(self, *_args):
        """Say nothing."""


def model():
    """A model that nobody has asked."""
    Model.asked = []
    Model.let = threading.Semaphore(0)
    return served(Model)


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_args):
        """Say nothing."""


@pytest.fixture(scope="module")
def browser():
    with Chromium() as chromium:
        yield chromium


@pytest.fixture
def pages(tmp_path):
    with served(partial(Quiet, directory=tmp_path)) as port:
        yield tmp_path, f"http://127.0.0.1:{port}/"


@contextlib.contextmanager
def running(script, path):
    options = [f"--path={path}", "--set=route.origins=*", "--set=limits.ping_interval=0"]
    with gateway(*options, scripts={"doc.php": script}, script="doc.php") as wsgate:
        yield wsgate


def shown(pages, wsgate, page):
    """The address of a page of the document, told where wsgate listens."""
    folder, url = pages
    assert "//localhost:8080/" in page
    head = '<!doctype html><meta charset="utf-8"><link rel="icon" href="data:,">'
    text = head + page.replace("localhost:8080", f"127.0.0.1:{wsgate.port}")
    (folder / "page.html").write_text(text, encoding="utf-8")
    return url + "page.html"


def test_the_page_shows_the_progress_of_the_script(pages, browser):
    with running(PROGRESS, "/progress") as wsgate:
        browser.open(shown(pages, wsgate, PAGES[0]))
        seen = browser.run(
            """
            window.seen = [];
            socket.addEventListener('message', () => seen.push(bar.value));
            return bar.value;
            """
        )
        browser.wait_text("said", "done")
        # The script works for a tenth of a second at each step: the page saw some on its way.
        values = browser.run("return seen")
        assert values == sorted(values)
        assert values[-1] == 100
        assert any(0 < value < 100 for value in [seen, *values])
        assert browser.console() == []


def test_the_page_shows_the_tokens_of_a_model_as_they_come(pages, browser):
    with model() as port:
        script = CHAT.replace("127.0.0.1:11434", f"127.0.0.1:{port}")
        assert script != CHAT
        with running(script, "/chat") as wsgate:
            browser.open(shown(pages, wsgate, PAGES[1]))
            browser.type("question", "Why?")
            browser.run("ask.requestSubmit()")
            said = ""
            for token in TOKENS:
                Model.let.release()
                said += token
                # The next token is not even at PHP yet.
                browser.wait_text("answer", said)
            browser.wait_text("state", "done")
            assert Model.asked == ["Why?"]
            assert browser.text("answer") == "".join(TOKENS)
            assert browser.console() == []


def test_stop_stops_the_script(pages, browser):
    with model() as port:
        left = "register_shutdown_function(fn() => touch('{scripts}/stopped'));\n$prompt"
        script = CHAT.replace("127.0.0.1:11434", f"127.0.0.1:{port}").replace("$prompt", left, 1)
        with running(script, "/chat") as wsgate:
            browser.open(shown(pages, wsgate, PAGES[1]))
            browser.run("ask.requestSubmit()")
            Model.let.release()
            browser.wait_text("answer", TOKENS[0])
            browser.click("cancel")
            wait_for("the socket is closed", lambda: browser.run("return socket.readyState") == 3)
            for _ in TOKENS[1:]:
                Model.let.release()
            wait_for("the script has ended", Path(wsgate.script("stopped")).exists)
            assert browser.text("answer") == TOKENS[0]


def test_a_model_that_does_not_answer_is_an_error_the_page_shows(pages, browser):
    with served(Model) as port:
        pass
    script = CHAT.replace("127.0.0.1:11434", f"127.0.0.1:{port}")
    with running(script, "/chat") as wsgate:
        browser.open(shown(pages, wsgate, PAGES[1]))
        browser.run("ask.requestSubmit()")
        browser.wait_text("state", "the script failed")
