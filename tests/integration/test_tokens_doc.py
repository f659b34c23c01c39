"""docs/tokens.md does what it says: files and commands as written, and pages in Chromium."""

import contextlib
import json
import re
import subprocess
import sys
import time
from pathlib import Path

import jwt
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.hooks.token_keys import jwk, jwks, private
from tests.integration.chromium import Chromium, wait_for
from tests.integration.gateway_process import Workplace, eventually, free_port, gateway
from tests.integration.jwks_server import keys_server
from tests.pages import blocks, page

ROOT = Path(__file__).parents[2]
TEXT = page("tokens.md")
SECTIONS = dict(re.findall(r"^## ([^\n]*)\n(.*?)(?=^## |\Z)", TEXT, re.M | re.S))
MADE = "Tokens that PHP makes"
PROVIDER = "Tokens of an identity provider"
PLACES = "Where the token is"
ENDS = "When it ends"
URL = "A URL that holds for a minute"
SECRET = "A secret for programs"


def blocks_of(section, language):
    return blocks(SECTIONS[section], language)


class Place:
    """A folder as the page has it, and what runs there."""

    def __init__(self, folder):
        self.folder = folder

    def write(self, name, text):
        path = self.folder / name
        path.write_text(text)
        path.chmod(0o644)

    def sh(self, section):
        (commands,) = blocks_of(section, "sh")
        subprocess.run(["sh", "-e", "-c", commands], cwd=self.folder, check=True, timeout=60)

    def php(self, name):
        """What a script prints on the command line."""
        ran = subprocess.run(
            ["php", "-d", "display_errors=stderr", name],
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
        assert ran.stderr == ""
        return ran.stdout

    def gateway(self, config, *options, path="/chat"):
        """`twistd -n wsgate --config wsgate.toml` on a port of its own, for pages of any origin."""
        self.write("wsgate.toml", config)
        return gateway(
            f"--config={self.folder}/wsgate.toml",
            "--port=tcp:{port}:interface=127.0.0.1",
            f"--path={path}",
            "--set=route.origins=*",
            "--set=limits.new_connections_per_address=0",
            *options,
            script=None,
            port=None,
        )

    @contextlib.contextmanager
    def site(self):
        """The web site of this folder, by PHP's own server."""
        port = free_port()
        command = ["php", "-S", f"127.0.0.1:{port}", "-t", str(self.folder)]
        with (self.folder / "site.log").open("wb") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            log_file = self.folder / "site.log"
            eventually(lambda: "started" in log_file.read_text(), 20, "PHP's server")
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait(20)


@pytest.fixture
def place():
    work = Workplace()
    yield Place(work.scripts)
    work.remove()


@pytest.fixture(scope="module")
def browser():
    with Chromium() as chromium:
        yield chromium


def bearer(token):
    return {"additional_headers": {"Authorization": f"Bearer {token}"}}


def turned_away(wsgate, path="/chat", **options):
    with pytest.raises(InvalidStatus) as refused, wsgate.connect(path, **options):
        pass
    return refused.value.response.status_code


def page(place, name, script):
    """A page whose module is `script`."""
    head = '<!doctype html><meta charset="utf-8"><link rel="icon" href="data:,">'
    place.write(name, f'{head}<p id="said"></p><script type="module">{script}</script>')


def here(script, wsgate):
    """A script of the page, told where wsgate listens."""
    assert "wss://example.com" in script
    return script.replace("wss://example.com", f"ws://127.0.0.1:{wsgate.port}")


SHOWS = """
socket.addEventListener('open', () => socket.send('Hi!'));
socket.addEventListener('message', event => { said.textContent += event.data; });
"""


@pytest.fixture
def made(place):
    """The place of the first section."""
    place.sh(MADE)
    chat, token = blocks_of(MADE, "php")
    place.write("chat.php", chat)
    place.write("token.php", token)
    (place.folder / "jwt.key").chmod(0o644)
    return place


def test_a_token_that_php_made_lets_in_and_says_who_it_is(made, browser):
    (config,) = blocks_of(MADE, "toml")
    (script,) = blocks_of(MADE, "js")
    with made.gateway(config) as wsgate, made.site() as site:
        page(made, "page.html", here(script, wsgate) + SHOWS)
        browser.open(f"{site}/page.html")
        answer = "Ada (user 42) says: Hi! And is an admin."
        browser.wait_text("said", answer)
        assert browser.console() == []
        assert wsgate.ask("Hi!", "/chat", **bearer(made.php("token.php"))) == answer
        assert turned_away(wsgate) == 401
        assert turned_away(wsgate, **bearer(made.php("token.php") + "x")) == 401


def test_tokens_of_a_provider_let_in(place):
    (config,) = blocks_of(PROVIDER, "toml")
    place.write("chat.php", "<?php echo json_encode($_SERVER);")
    with keys_server(jwks(jwk("RS256", kid="k"))) as server:
        url = "https://id.example.com/realms/shop/protocol/openid-connect/certs"
        assert url in config
        config = config.replace(url, f"http://127.0.0.1:{server.server_port}/jwks")
        route = '\n[[route]]\npath = "/chat"\nscript = "chat.php"\nhooks = "login"\n'
        claims = {
            "iss": "https://id.example.com/realms/shop",
            "aud": ["account", "chat"],
            "sub": "f:1:ada",
            "email": "ada@example.com",
            "realm_access": {"roles": ["editor"]},
            "exp": int(time.time()) + 60,
        }

        def offered(**changed):
            token = jwt.encode(
                {**claims, **changed}, private("RS256"), "RS256", headers={"kid": "k"}
            )
            return {"subprotocols": [f"bearer.{token}"]}

        with place.gateway(config + route) as wsgate:
            said = json.loads(wsgate.ask("x", "/chat", **offered()))
            assert said["WSGATE_CLAIM_EMAIL"] == "ada@example.com"
            assert said["WSGATE_CLAIM_ROLES"] == '["editor"]'
            assert said["WSGATE_USER"] == "f:1:ada"
            assert turned_away(wsgate, **offered(aud="account")) == 401
            assert turned_away(wsgate, **offered(iss="https://id.example.com/realms/x")) == 401


def test_the_first_message_may_be_the_token(made, browser):
    (config,) = blocks_of(MADE, "toml")
    (script,) = blocks_of(PLACES, "js")
    config = re.sub(r"^sources = .*$", 'sources = "first_message:token"', config, flags=re.M)
    with made.gateway(config) as wsgate, made.site() as site:
        fetched = "const token = await (await fetch('/token.php')).text();"
        page(made, "page.html", fetched + here(script, wsgate) + SHOWS)
        browser.open(f"{site}/page.html")
        browser.wait_text("said", "Ada (user 42) says: Hi!")


def test_a_page_whose_token_ends_comes_again_with_a_new_one(made, browser):
    (config,) = blocks_of(MADE, "toml")
    again, _ = blocks_of(ENDS, "js")
    token = made.folder / "token.php"
    made.write("token.php", token.read_text().replace("time() + 900", "time() + 5"))
    counts = """
    window.opened = [];
    const Real = WebSocket;
    window.WebSocket = class extends Real {
        constructor(...words) { super(...words); opened.push(words[1]); }
    };
    connect(await (await fetch('/token.php')).text());
    """
    config = config.replace("[[route]]", "leeway = 0\n\n[[route]]")
    with made.gateway(config) as wsgate, made.site() as site:
        page(made, "page.html", here(again, wsgate) + counts)
        browser.open(f"{site}/page.html")
        wait_for("it has come again", lambda: len(browser.run("return window.opened || []")) >= 2)


def test_a_page_that_sends_new_tokens_stays(made, browser):
    (config,) = blocks_of(ENDS, "toml")
    _, renews = blocks_of(ENDS, "js")
    (script,) = blocks_of(MADE, "js")
    token = made.folder / "token.php"
    made.write("token.php", token.read_text().replace("time() + 900", "time() + 5"))
    assert "600_000" in renews
    renews = renews.replace("600_000", "500")
    route = 'path = "/chat"\nscript = "chat.php"\nsubprotocols = "chat.v1"\nhooks = "login"\n'
    made.write("chat.php", "<?php echo file_get_contents('php://input');")
    ends = "socket.onclose = event => { said.textContent += event.code; };"
    with made.gateway(f"{config}leeway = 0\n[[route]]\n{route}") as wsgate, made.site() as site:
        page(made, "page.html", here(script, wsgate) + ends + SHOWS + renews)
        browser.open(f"{site}/page.html")
        began = time.monotonic()
        wait_for("longer than a token holds", lambda: time.monotonic() - began > 8)
        assert browser.text("said") == "Hi!"


@pytest.mark.parametrize("way", [0, 1])
def test_a_url_that_php_signs_lets_in_for_a_minute(place, way):
    place.sh(URL)
    (config,) = blocks_of(URL, "toml")
    *signs, chat = blocks_of(URL, "php")
    place.write("chat.php", chat)
    script = signs[way].replace("'vendor/autoload.php'", f"'{ROOT}/php/autoload.php'")
    place.write("link.php", script)
    with place.gateway(config) as wsgate:
        url = place.php("link.php")
        path = url.removeprefix("wss://example.com")
        assert path.startswith("/chat?")
        assert wsgate.ask("x", path) == "User 42 is in lobby."
        assert turned_away(wsgate, path.replace("user=42", "user=1")) == 403
        assert turned_away(wsgate) == 403


def test_a_program_that_knows_the_secret_comes_in(place):
    place.sh(SECRET)
    (config,) = blocks_of(SECRET, "toml")
    (feed,) = blocks_of(SECRET, "php")
    place.write("feed.php", feed)
    secret = (place.folder / "feed.secret").read_text().strip()
    with place.gateway(config, path="/feed") as wsgate:
        headers = {"X-Feed-Secret": secret}
        assert wsgate.ask("four", "/feed", additional_headers=headers) == "Thank you for 4 bytes."
        assert turned_away(wsgate, "/feed") == 403


def test_what_the_table_says_of_the_end_is_said(made):
    (config,) = blocks_of(MADE, "toml")
    config = re.sub(r"^sources = .*$", 'sources = "first_message"', config, flags=re.M)
    with made.gateway(config) as wsgate, wsgate.connect("/chat") as client:
        client.send("no token")
        with pytest.raises(ConnectionClosed) as closed:
            client.recv(timeout=20)
    said = (closed.value.rcvd.code, closed.value.rcvd.reason)
    assert said == (4401, "invalid token")
    assert re.search(r"close `4401` `invalid token`", SECTIONS[ENDS])


def test_the_docs_are_of_this_version():
    """Each option that the page names is one."""
    ran = subprocess.run(
        [sys.executable, "-m", "wsgate.config"], capture_output=True, text=True, check=True
    )
    for name in ("first_message_timeout", "close_at_expiry", "jwks_stale", "max_lifetime"):
        assert f"`{name}" in TEXT
        assert f"| `{name}` |" in ran.stdout
