"""The PHP package in php/ through a real wsgate and PHP-FPM, and from PHP's command line."""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.integration.gateway_process import eventually, free_port, gateway

PACKAGE = Path(__file__).parent.parent.parent / "php"
TOKEN = "a-token-of-the-tests-0123456789"

SOCKET = r"""<?php
declare(strict_types=1);
require __DIR__ . '/php/autoload.php';

use Wsgate\{Answer, Event, EventType, Message, Stream};

$event = Event::fromGlobals();

function connected(Event $event): Answer
{
    if (!isset($_GET['user'])) {
        return Answer::reject(401, 'log in first');
    }
    return Answer::json(['id' => $event->connectionId, 'user' => $event->user])
        ->setUser($_GET['user'])->setVariable('room', 'blue')->subscribe('lobby')
        ->cookie('seen', 'yes', ['Max-Age' => 60]);
}

function said(Event $event): Answer
{
    if ($event->isBinary) {
        return Answer::binary(strrev($event->bytes()));
    }
    $asked = $event->json();
    return match ($asked['do']) {
        'tell' => Answer::json([$event->user, $event->variable('room'), $event->messageId]),
        'say' => Answer::text($asked['text'])
            ->publish('lobby', exceptSelf: $asked['except'] ?? false),
        'join' => Answer::nothing()->subscribe($asked['channel']),
        'follow' => Answer::nothing()->subscribe('news', recover: true),
        'leave' => Answer::nothing()->unsubscribe($asked['channel']),
        'twice' => Answer::text('once'),
        'forget' => Answer::text('forgotten')->setVariable('room', '')->setUser(''),
        'close' => Answer::text('Goodbye')->close(4001, 'as you wish'),
        'early' => (print 'oops') ? Answer::text('x') : null,
        'evil' => Answer::text('x')->subscribe("a\r\nWsgate-Close: 4666"),
    };
}

if ($event->isMessage() && !$event->isBinary && str_contains($event->text(), '"stream"')) {
    Stream::lines()->sendAll((function () {
        for ($i = 1; $i <= 3; $i++) {
            yield ['step' => $i];
        }
    })());
    return;
}

$answer = match ($event->type) {
    EventType::Connect => connected($event),
    EventType::Message => said($event),
    EventType::Disconnect => Answer::nothing(),
};
if ($event->isDisconnect()) {
    $known = [$event->user, $event->closeCode, $event->closeReason, $event->variable('room')];
    file_put_contents(__DIR__ . '/left', json_encode($known) . "\n", FILE_APPEND);
}
$answer->send();
if ($event->isMessage() && str_contains($event->bytes(), '"twice"')) {
    $answer->send();
}
"""


@pytest.fixture(scope="module")
def wsgate(tmp_path_factory):
    """A wsgate with the package beside its script, and its control interface."""
    folder = tmp_path_factory.mktemp("control")
    with gateway(
        "--events=connect,message,disconnect",
        f"--control=unix:{folder}/control.sock",
        "--set=gateway.state={folder}/state",
        "--set=limits.channel_history=10",
        scripts={"socket.php": SOCKET},
        script="socket.php",
    ) as running:
        copied = running.place.scripts / "php"
        shutil.copytree(PACKAGE / "src", copied / "src")
        shutil.copy(PACKAGE / "autoload.php", copied)
        running.control = f"unix:{folder}/control.sock"
        yield running


@pytest.fixture
def php(wsgate):
    """Run PHP on the command line with a `$gateway`; what it gives back, by way of JSON."""

    def run(expression):
        code = (
            f"require '{PACKAGE}/autoload.php';"
            f"$gateway = new Wsgate\\Gateway('{wsgate.control}');"
            f"try {{ echo json_encode({expression}); }}"
            "catch (Wsgate\\Exception\\WsgateException $e)"
            " { echo json_encode([get_class($e), $e->getMessage()]); }"
        )
        ran = subprocess.run(
            ["php", "-d", "display_errors=stderr", "-r", code],
            capture_output=True,
            text=True,
            check=False,
            timeout=30,
        )
        assert ran.returncode == 0, ran.stderr
        assert ran.stderr == ""
        return json.loads(ran.stdout)

    return run


@contextlib.contextmanager
def client(wsgate, user):
    """A connected client, and its id."""
    with wsgate.connect(f"/?user={user}") as socket:
        hello = json.loads(socket.recv(timeout=30))
        yield socket, hello["id"]


def ask(socket, **asked):
    socket.send(json.dumps(asked))
    return socket.recv(timeout=30)


def test_a_connect_is_refused_with_the_status_and_the_text(wsgate):
    with pytest.raises(InvalidStatus) as refused:
        wsgate.connect("/").close()
    assert refused.value.response.status_code == 401
    assert refused.value.response.body == b"log in first"


def test_a_connect_is_accepted_with_a_cookie(wsgate):
    with wsgate.connect("/?user=ada") as socket:
        cookie = socket.response.headers["Set-Cookie"]
        assert cookie == "seen=yes; Max-Age=60; Path=/; HttpOnly; SameSite=Lax"


def test_user_and_variable_are_there_with_the_next_message(wsgate):
    with client(wsgate, "ada") as (socket, connection_id):
        assert json.loads(ask(socket, do="tell")) == ["ada", "blue", f"{connection_id}:1"]
        assert ask(socket, do="forget") == "forgotten"
        assert json.loads(ask(socket, do="tell")) == [None, None, f"{connection_id}:3"]


def test_bytes_are_answered_with_bytes(wsgate):
    with client(wsgate, "ada") as (socket, _):
        socket.send(b"\x00\xff\x01")
        assert socket.recv(timeout=30) == b"\x01\xff\x00"


def test_a_message_goes_to_the_channel(wsgate):
    with client(wsgate, "ada") as (ada, _), client(wsgate, "bob") as (bob, _):
        assert ask(ada, do="say", text="to all") == "to all"
        assert bob.recv(timeout=30) == "to all"
        ada.send(json.dumps({"do": "say", "text": "to others", "except": True}))
        assert bob.recv(timeout=30) == "to others"
        assert json.loads(ask(ada, do="tell"))[0] == "ada"


def test_subscriptions_change_by_answers(wsgate, php):
    with client(wsgate, "ada") as (socket, connection_id):
        socket.send(json.dumps({"do": "join", "channel": "room.1"}))
        ask(socket, do="tell")
        channels = f"$gateway->connection('{connection_id}')->channels"
        assert sorted(php(channels)) == ["lobby", "room.1"]
        socket.send(json.dumps({"do": "leave", "channel": "lobby"}))
        ask(socket, do="tell")
        assert php(channels) == ["room.1"]


def test_who_follows_a_channel_gets_what_it_missed(wsgate, php):
    with client(wsgate, "ada") as (socket, _):
        socket.send('{"do":"follow"}')
        began = json.loads(socket.recv(timeout=30))
        assert (began["channel"], began["recovered"]) == ("news", None)
    assert php("$gateway->publish('news', 'while she was away')") == 0
    with wsgate.connect(f"/?user=ada&last={began['last']}") as socket:
        socket.recv(timeout=30)
        socket.send('{"do":"follow"}')
        again = json.loads(socket.recv(timeout=30))
        assert again["recovered"] is True
        assert json.loads(socket.recv(timeout=30))["data"] == "while she was away"


def test_a_close_comes_after_the_message(wsgate):
    with client(wsgate, "ada") as (socket, _):
        assert ask(socket, do="close") == "Goodbye"
        with pytest.raises(ConnectionClosed):
            socket.recv(timeout=30)
        assert (socket.close_code, socket.close_reason) == (4001, "as you wish")


def test_an_evil_name_ends_the_script_and_not_the_connection(wsgate):
    with client(wsgate, "ada") as (socket, _):
        assert json.loads(ask(socket, do="evil"))["error"]["status"] == 500
        assert json.loads(ask(socket, do="tell"))[0] == "ada"


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("early", 'something was printed before the answer: "oops"'),
        ("twice", "this request was answered already"),
    ],
)
def test_what_would_spoil_the_message_ends_the_script(wsgate, what, said):
    with client(wsgate, "ada") as (socket, _):
        assert json.loads(ask(socket, do=what))["error"]["status"] == 500
        eventually(lambda: said in wsgate.log(), 5, "the log")


def test_a_disconnect_knows_who_left_and_how(wsgate):
    left = wsgate.place.scripts / "left"
    with client(wsgate, "grace") as (socket, _):
        socket.close(4000, "done")
    line = eventually(
        lambda: (
            [one for one in left.read_text().splitlines() if "grace" in one]
            if left.exists()
            else None
        ),
        10,
    )
    assert json.loads(line[0]) == ["grace", 4000, "done", "blue"]


def test_a_generator_is_a_stream_of_messages(wsgate):
    with client(wsgate, "ada") as (socket, connection_id):
        socket.send('{"do":"stream"}')
        for step in (1, 2, 3):
            assert json.loads(socket.recv(timeout=30)) == {"step": step}
        assert json.loads(socket.recv(timeout=30)) == {
            "stream": "end",
            "message_id": f"{connection_id}:1",
            "messages": 3,
        }


def test_the_gateway_reaches_a_connection_a_user_and_a_channel(wsgate, php):
    with client(wsgate, "Ada%20L%C3%B6ve") as (ada, ada_id), client(wsgate, "bob") as (bob, bob_id):
        assert php(f"$gateway->sendToConnection('{ada_id}', 'one')") is True
        assert ada.recv(timeout=30) == "one"
        assert php("$gateway->sendToUser('Ada Löve', ['two' => 2])") == 1
        assert ada.recv(timeout=30) == '{"two":2}'
        assert php(f"$gateway->publish('lobby', 'three', except: '{ada_id}')") == 1
        assert bob.recv(timeout=30) == "three"
        assert php("$gateway->publish('lobby', Wsgate\\Message::binary(chr(255)))") == 2
        assert ada.recv(timeout=30) == bob.recv(timeout=30) == b"\xff"
        assert php("$gateway->sendToUser('nobody', 'x')") == 0
        assert php("$gateway->publish('empty', 'x')") == 0
        assert php(f"$gateway->sendToConnection('{'0' * 32}', 'x')") is False
        assert bob_id != ada_id


def test_the_gateway_knows_who_is_there(wsgate, php):
    with client(wsgate, "ada") as (_, first), client(wsgate, "ada"), client(wsgate, "bob"):
        assert php("$gateway->channel('lobby', users: true)") == {
            "name": "lobby",
            "subscribers": 3,
            "users": ["ada", "bob"],
        }
        assert php("$gateway->channel('lobby')->subscribers") == 3
        connection = php(f"$gateway->connection('{first}')")
        assert connection["user"] == "ada"
        assert connection["channels"] == ["lobby"]
        assert connection["remoteAddress"] == "127.0.0.1"
        assert connection["path"] == "/"
        assert connection["queue"] == 0
        age = php(f"time() - $gateway->connection('{first}')->connectedAt->getTimestamp()")
        assert 0 <= age < 60
        assert php(f"$gateway->connection('{'0' * 32}')") is None


def test_the_gateway_subscribes_unsubscribes_and_closes(wsgate, php):
    with client(wsgate, "ada") as (socket, connection_id):
        assert php(f"$gateway->subscribe('{connection_id}', 'news')") is True
        assert php("$gateway->publish('news', 'hear')") == 1
        assert socket.recv(timeout=30) == "hear"
        assert php(f"$gateway->unsubscribe('{connection_id}', 'news')") is True
        assert php("$gateway->publish('news', 'hear')") == 0
        assert php(f"$gateway->close('{connection_id}', 4003, 'away with you')") is True
        with pytest.raises(ConnectionClosed):
            socket.recv(timeout=30)
        assert (socket.close_code, socket.close_reason) == (4003, "away with you")
    with client(wsgate, "eve") as (one, _), client(wsgate, "eve") as (two, _):
        assert php("$gateway->disconnectUser('eve', 4004, 'logged out')") == 2
        for socket in (one, two):
            with pytest.raises(ConnectionClosed):
                socket.recv(timeout=30)
            assert socket.close_code == 4004


def test_over_tcp_the_token_is_sent_and_a_wrong_one_is_refused(tmp_path):
    token = tmp_path / "token"
    token.write_text(TOKEN + "\n")
    token.chmod(0o600)
    port = free_port()
    with gateway(f"--control=tcp:{port}:interface=127.0.0.1", f"--control-token-file={token}"):

        def told(given):
            code = (
                f"require '{PACKAGE}/autoload.php';"
                f"$gateway = new Wsgate\\Gateway('http://127.0.0.1:{port}', '{given}');"
                "try { for ($i = 0; $i < 3; $i++) echo $gateway->publish('a', 'b'); }"
                "catch (Wsgate\\Exception\\Refused $e) { echo $e->status; }"
            )
            return subprocess.run(
                ["php", "-r", code], capture_output=True, text=True, check=True, timeout=30
            ).stdout

        assert told(TOKEN) == "000"
        assert told(TOKEN + "x") == "401"


def test_over_tls_the_certificate_is_verified(tmp_path):
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    made += ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    made += ["-keyout", str(key), "-out", str(certificate)]
    subprocess.run(made, check=True, capture_output=True)
    folder, token = tmp_path / "tls", tmp_path / "token"
    folder.mkdir()
    (folder / "DEFAULT.pem").write_text(key.read_text() + certificate.read_text())
    token.write_text(TOKEN + "\n")
    token.chmod(0o600)
    port = free_port()
    with gateway(
        f"--control=tls:{folder}:port={port}:interface=127.0.0.1",
        f"--control-token-file={token}",
    ):

        def published(*options, host="localhost"):
            code = (
                f"require '{PACKAGE}/autoload.php';"
                f"$gateway = new Wsgate\\Gateway('https://{host}:{port}', '{TOKEN}');"
                "try { echo $gateway->publish('a', 'b') + $gateway->publish('a', 'b'); }"
                "catch (Wsgate\\Exception\\Unreachable $e) { echo $e->getMessage(); }"
            )
            command = ["php", *options, "-r", code]
            ran = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30)
            return ran.stdout

        trusted = ("-d", f"openssl.cafile={certificate}")
        assert published(*trusted) == "0"
        assert "certificate verify failed" in published()
        assert "did not match expected" in published(*trusted, host="127.0.0.1")
