"""docs/logged-in-users.md does what it says: its files, as written, and a login in Chromium."""

import contextlib
import os
import re
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import pytest
from websockets.exceptions import InvalidStatus

from tests.integration.chromium import Chromium, wait_for
from tests.integration.gateway_process import free_port, gateway
from tests.integration.nginx import nginx_with
from tests.integration.php_fpm import php_fpm
from tests.pages import blocks, page

TEXT = page("logged-in-users.md")
PHP, TOML, NGINX, INI = (blocks(TEXT, language) for language in ("php", "toml", "nginx", "ini"))
NAMES = ("login.php", "index.php", "logout.php", "chat.php")
FOLDER = "/var/lib/app-sessions"
POOL = dict(re.findall(r"^(php_admin_value\[[\w.]+\]) = (.*)$", INI[0], re.M))


class Site:
    """PHP-FPM, nginx and wsgate as the page sets them up."""

    def __init__(self, url, wsgate, sessions):
        self.url = url
        self.wsgate = wsgate
        self.sessions = sessions


@pytest.fixture(scope="module")
def site():
    assert len(PHP) == len(NAMES)
    assert len(POOL) == len(INI[0].splitlines())
    with contextlib.ExitStack() as stack:
        # Not in a folder of pytest's, which it closes to other users.
        folder = Path(tempfile.mkdtemp(prefix="wsgate-sessions-"))
        stack.callback(shutil.rmtree, folder)
        folder.chmod(0o755)
        sessions = folder / "sessions"
        scripts = dict(zip(NAMES, PHP, strict=True))
        settings = {name: value.replace(FOLDER, str(sessions)) for name, value in POOL.items()}
        fpm = stack.enter_context(php_fpm(workers=4, scripts=scripts, fpm=settings))
        _make_for_php(sessions)
        port = free_port()

        def here(text):
            """The text with this place's files and ports."""
            for written, real in (
                ("unix:/run/php/php8.2-fpm.sock", f"unix:{fpm.socket}"),
                ("/srv/app", str(fpm.scripts)),
                (FOLDER, str(sessions)),
                ("tcp:8080:", f"tcp:{port}:"),
                ("127.0.0.1:8080", f"127.0.0.1:{port}"),
                ("include fastcgi_params", "include /etc/nginx/fastcgi_params"),
            ):
                text = text.replace(written, real)
            return text

        config = folder / "wsgate.toml"
        config.write_text(here(TOML[0]))
        options = ("--config", str(config), "--set=limits.new_connections_per_address=0")
        wsgate = stack.enter_context(
            gateway(*options, script=None, port=None, ready=lambda _: _accepts(port))
        )
        wsgate.url = f"ws://127.0.0.1:{port}"
        web = stack.enter_context(nginx_with(here(NGINX[0])))
        yield Site(f"http://127.0.0.1:{web}", wsgate, sessions)


def _accepts(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _make_for_php(folder):
    """As `install -d -o www-data -g www-data -m 0750` does."""
    folder.mkdir()
    folder.chmod(0o750)
    if os.geteuid() == 0:
        shutil.chown(folder, "www-data", "www-data")


@pytest.fixture
def browser():
    with Chromium() as chromium:
        yield chromium


def log_in(browser, site, password="secret"):
    browser.open(f"{site.url}/")
    assert path(browser) == "/login.php"
    browser.type("name", "ann")
    browser.type("password", password)
    browser.click("login")
    if password == "secret":
        wait_for("the page of the chat", lambda: path(browser) == "/index.php")
        browser.wait_text("state", "connected")


def path(browser):
    """Of the page that is shown."""
    return browser.run("return location.pathname")


def test_who_logs_in_chats_and_who_logs_out_is_closed(site, browser):
    log_in(browser, site, "wrong")
    browser.wait_text("error", "No such user")
    log_in(browser, site)
    browser.type("text", "hello")
    browser.run("ask.requestSubmit()")
    browser.wait_text("said", "ann (member): hello")
    chat = browser.window()
    browser.new_window()
    browser.open(f"{site.url}/logout.php")
    browser.close_window()
    browser.switch(chat)
    wait_for("the page hears of the logout", lambda: path(browser) == "/login.php")


CONNECT = """
const done = arguments[arguments.length - 1];
window.outcome = '';
const socket = new WebSocket(`ws://${location.host}/chat`);
socket.onopen = () => window.outcome = 'open';
socket.onclose = event => window.outcome = 'closed ' + event.code;
"""


def test_a_page_that_is_not_logged_in_gets_no_socket(site, browser):
    browser.open(f"{site.url}/login.php")
    browser.run(CONNECT)
    outcome = wait_for("an outcome", lambda: browser.run("return window.outcome"))
    assert outcome == "closed 1006"


def test_a_page_of_others_gets_no_socket_with_the_users_cookie(site, browser):
    log_in(browser, site)
    (session,) = [
        file.name.removeprefix("sess_")
        for file in site.sessions.iterdir()
        if b"user_id" in file.read_bytes()
    ]
    cookie = {"Cookie": f"PHPSESSID={session}"}
    with pytest.raises(InvalidStatus) as caught:
        site.wsgate.connect("/chat", additional_headers=cookie, origin="https://evil.example")
    assert caught.value.response.status_code == 403
    with site.wsgate.connect("/chat", additional_headers=cookie) as client:
        client.send("hello")
        assert client.recv(timeout=30) == "ann (member): hello"


@pytest.mark.skipif(os.geteuid() != 0, reason="PHP runs as another user only if we are root")
def test_the_group_of_php_may_read_sessions_and_others_may_not(site, browser):
    log_in(browser, site)
    for file in site.sessions.iterdir():
        assert file.stat().st_mode & 0o777 == 0o640
        assert (file.owner(), file.group()) == ("www-data", "www-data")
        assert can_read("www-data", file)
        assert not can_read("nogroup", file)


def can_read(group, file):
    """Whether a user who is in this group can."""
    as_user = ["setpriv", "--reuid=nobody", "--regid=nogroup", f"--groups={group}"]
    return not subprocess.run([*as_user, "cat", file], capture_output=True, check=False).returncode


def test_a_page_makes_the_session_young_again(site, browser):
    log_in(browser, site)
    old = time.time() - 1000
    for file in site.sessions.iterdir():
        os.utime(file, (old, old))
    browser.open(f"{site.url}/index.php")
    browser.wait_text("state", "connected")
    assert any(file.stat().st_mtime > old + 500 for file in site.sessions.iterdir())
