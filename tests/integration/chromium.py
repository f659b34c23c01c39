"""A real Chromium, driven by Debian's chromedriver: WebDriver over HTTP, nothing between."""

from __future__ import annotations

import base64
import json
import re
import shutil
import subprocess
import tempfile
import time
import urllib.error
import urllib.request

DEADLINE = 30.0
"""Seconds that a page gets to show something."""

# As root Chromium needs --no-sandbox; without the others it looks for Google's hosts at each start.
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--ignore-certificate-errors",
)

_ELEMENT = "element-6066-11e4-a52e-4f735466cecf"


class WebDriverError(Exception):
    """What chromedriver answered instead of a value."""


def wait_for(what, condition, deadline=DEADLINE):
    """The first true value of `condition()`; AssertionError naming `what` after the deadline."""
    end = time.monotonic() + deadline
    while not (value := condition()):
        assert time.monotonic() < end, f"not within {deadline:.0f} s: {what}"
        # Fifty looks a second leave the cores to the browser.
        time.sleep(0.02)
    return value


class Chromium:
    """One headless browser window. A context manager; `close()` ends browser and driver."""

    def __init__(self, width=1280, height=900):
        for program in ("chromedriver", "chromium"):
            if shutil.which(program) is None:
                raise AssertionError(
                    f"{program} is missing; install it: apt-get install chromium chromium-driver"
                )
        self._profile = tempfile.mkdtemp(prefix="wsgate-chromium-")
        self._driver = subprocess.Popen(
            ["chromedriver", "--port=0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        self._session = None
        try:
            self._base = f"http://127.0.0.1:{self._port()}/session"
            self._session = self._start(width, height)
        except BaseException:
            self.close()
            raise

    def _port(self):
        for line in self._driver.stdout:
            if found := re.search(rb"started successfully on port (\d+)", line):
                return int(found[1])
        raise AssertionError(f"chromedriver ended with {self._driver.wait()}")

    def _start(self, width, height):
        options = {
            "binary": shutil.which("chromium"),
            "args": [*FLAGS, f"--user-data-dir={self._profile}", f"--window-size={width},{height}"],
        }
        wanted = {"goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}
        answer = self._call("POST", "", {"capabilities": {"alwaysMatch": wanted}})
        return answer["sessionId"]

    def _call(self, method, path, body=None):
        url = self._base + (f"/{self._session}" if self._session else "") + path
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(url, data, method=method)
        try:
            with urllib.request.urlopen(request, timeout=60) as response:
                return json.load(response)["value"]
        except urllib.error.HTTPError as error:
            raise WebDriverError(json.load(error)["value"]["message"].splitlines()[0]) from None

    def close(self):
        """End the browser, then its driver."""
        try:
            if self._session is not None:
                self._call("DELETE", "")
        finally:
            self._driver.terminate()
            self._driver.wait()
            self._driver.stdout.close()
            shutil.rmtree(self._profile, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *_exception):
        self.close()

    # The page

    def open(self, url):
        """Go there and wait until it is loaded."""
        self._call("POST", "/url", {"url": url})

    def window(self):
        """Which window commands go to now."""
        return self._call("GET", "/window")

    def new_window(self):
        """Open a window beside the others, which have the same cookies, and go on there."""
        made = self._call("POST", "/window/new", {"type": "tab"})["handle"]
        self.switch(made)
        return made

    def switch(self, window):
        """Go on in this window."""
        self._call("POST", "/window", {"handle": window})

    def close_window(self):
        """Close this window; `switch` to another then."""
        self._call("DELETE", "/window")

    def run(self, script, *arguments):
        """The value that the body of a JavaScript function returns."""
        return self._call("POST", "/execute/sync", {"script": script, "args": list(arguments)})

    def _element(self, element_id):
        found = self._call("POST", "/element", {"using": "css selector", "value": f"#{element_id}"})
        return f"/element/{found[_ELEMENT]}"

    def click(self, element_id):
        """Click as a user does: the element must be visible and not covered."""
        self._call("POST", self._element(element_id) + "/click", {})

    def type(self, element_id, text):
        """Replace what the field holds."""
        self._call("POST", self._element(element_id) + "/clear", {})
        self._call("POST", self._element(element_id) + "/value", {"text": text})

    def choose_file(self, element_id, path):
        """Choose a file in a file field."""
        self._call("POST", self._element(element_id) + "/value", {"text": str(path)})

    def text(self, element_id):
        """The text inside an element, shown or not."""
        return self.run("return document.getElementById(arguments[0]).textContent", element_id)

    def wait_text(self, element_id, expected, deadline=DEADLINE):
        """Wait until the element's text contains `expected`; the text."""

        def contains():
            text = self.text(element_id)
            return text if expected in text else None

        return wait_for(f"{expected!r} in #{element_id}", contains, deadline)

    def console(self):
        """What the browser's console said since the last call: errors and refusals by policy."""
        return [entry["message"] for entry in self._call("POST", "/se/log", {"type": "browser"})]

    # How it looks

    def device(self, width, height, *, dark=False):
        """Show the page as a screen of this size, in points, with a light or dark scheme."""
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self.devtools("Emulation.setDeviceMetricsOverride", metrics)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.devtools("Emulation.setEmulatedMedia", {"features": [scheme]})

    def devtools(self, command, parameters):
        """One command of the Chrome DevTools Protocol."""
        return self._call("POST", "/goog/cdp/execute", {"cmd": command, "params": parameters})

    def screenshot(self, path, *, whole=False):
        """A PNG of the window, or of the whole page."""
        answer = self.devtools("Page.captureScreenshot", {"captureBeyondViewport": whole})
        path.write_bytes(base64.b64decode(answer["data"]))
