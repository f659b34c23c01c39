"""Messages through the whole service and real PHP: bytes, frames, types, answers, order."""

import base64
import hashlib
import json
import os
import re
import struct

import pytest
from websockets.exceptions import ConnectionClosed

from tests.integration.gateway_process import gateway
from tests.integration.raw_client import RawClient

MIB = 2**20
FRAGMENT_SIZE = 64 * 1024
SIZES = [0, 1, 125, 126, 65535, 65536, MIB, 16 * MIB]

SCRIPTS = {
    # The SHA-256 that PHP computed, then what it got.
    "hash.php": """<?php
$got = file_get_contents('php://input');
header('Content-Type: ' . ($_SERVER['WSGATE_OPCODE'] === 'binary'
    ? 'application/octet-stream' : 'text/plain'));
echo hash('sha256', $got), $got;
""",
    "seen.php": """<?php
header('Content-Type: application/json');
echo json_encode(['post' => $_POST, 'request' => $_REQUEST, 'get' => $_GET,
    'input' => base64_encode(file_get_contents('php://input')), 'server' => $_SERVER]);
""",
    "answers.php": """<?php
$ask = json_decode(file_get_contents('php://input'), true);
foreach ($ask['headers'] ?? [] as $line) header($line);
if (isset($ask['status'])) http_response_code($ask['status']);
if (isset($ask['log'])) error_log($ask['log']);
if (isset($ask['sleep'])) usleep($ask['sleep'] * 1000);
echo isset($ask['base64']) ? base64_decode($ask['base64']) : ($ask['body'] ?? '');
if (isset($ask['throw'])) throw new Exception('secret-cause');
if (isset($ask['exhaust'])) str_repeat('x', 1 << 40);
""",
    "session.php": """<?php
session_save_path('{scripts}');
session_start();
$_SESSION['n'] = ($_SESSION['n'] ?? 0) + 1;
echo json_encode(['n' => $_SESSION['n'], 'id' => session_id(), 'cookie' => $_COOKIE]);
""",
    "counted.php": """<?php
usleep(random_int(0, 3000));
echo file_get_contents('php://input'), ' ', $_SERVER['WSGATE_MESSAGE_ID'];
""",
    "broken.php": "<?php this is no PHP",
    "gone.php": "<?php echo 'still here';",
    "finish.php": """<?php
$message = file_get_contents('php://input');
echo $message;
if ($message === 'goes on') { fastcgi_finish_request(); sleep(3); }
""",
    "zipped.php": """<?php
ini_set('zlib.output_compression', '1');
header('Content-Type: application/json');
echo json_encode(str_repeat('long ', 1000));
""",
}

CONFIG = """
[limits]
max_message_size = "17MiB"
max_answer_size = "17MiB"
max_fragments = 20000
[pools.default]
max_in_flight = 2
response_timeout = "20s"
ini = {memory_limit = "256M"}
"""


def config():
    names = [name.removesuffix(".php") for name in SCRIPTS]
    routes = [(name, name, "") for name in names]
    routes += [
        ("closing", "answers", 'on_error = "close"\n'),
        ("fixed", "seen", 'text_content_type = "text/x-a"\nbinary_content_type = "image/x-b"\n'),
    ]
    return CONFIG + "".join(
        f'[[route]]\npath = "/{path}"\nscript = "{{scripts}}/{script}.php"\n{more}'
        for path, script, more in routes
    )


@pytest.fixture(scope="module")
def wsgate():
    """Each script at the path of its name; at /closing errors close; at /fixed types are fixed."""
    with gateway(
        "--config={scripts}/wsgate.toml",
        "--set=limits.new_connections_per_address=0",
        script=None,
        scripts={**SCRIPTS, "wsgate.toml": config()},
    ) as running:
        yield running


def patterned(size, is_text):
    """`size` bytes; for text all of ASCII, otherwise all byte values, at no short period."""
    if is_text:
        letters = bytes(range(128))
        return (letters * (size // 128 + 1))[:size]
    block = bytes(range(256)) + os.urandom(255)
    return (block * (size // len(block) + 1))[:size]


# -- bytes and frames


@pytest.mark.parametrize("is_text", [True, False], ids=["text", "binary"])
@pytest.mark.parametrize("size", SIZES)
def test_what_php_got_and_what_comes_back_have_the_same_sha256(wsgate, size, is_text):
    message = patterned(size, is_text)
    with RawClient(wsgate.port, "/hash") as client:
        client.send_message(message, is_text)
        frames = client.receive_frames()
    answer = b"".join(frame.payload for frame in frames)
    assert answer[:64].decode() == hashlib.sha256(message).hexdigest(), "what PHP got"
    assert hashlib.sha256(answer[64:]).digest() == hashlib.sha256(message).digest()
    sizes = [len(frame.payload) for frame in frames]
    assert max(sizes) <= FRAGMENT_SIZE
    assert set(sizes[:-1]) <= {FRAGMENT_SIZE}, "every frame but the last one is full"
    assert frames[0].opcode == (1 if is_text else 2)
    assert {frame.opcode for frame in frames[1:]} <= {0}


def test_compressed_messages_survive_both_ways():
    with gateway("--set=limits.compression=true", script="hash.php", scripts=SCRIPTS) as running:
        message = patterned(MIB, True).decode()
        with running.connect(compression="deflate") as client:
            for _ in range(3):
                client.send(message)
                answer = client.recv(timeout=20)
                assert answer[64:] == message
                assert answer[:64] == hashlib.sha256(message.encode()).hexdigest()


def test_every_byte_value_survives_both_ways(wsgate):
    message = bytes(range(256))
    answer = wsgate.ask(message, "/hash")
    assert answer[64:] == message
    assert answer[:64].decode() == hashlib.sha256(message).hexdigest()


def test_all_of_unicode_survives_as_text(wsgate):
    every = [*range(0xD800), *range(0xE000, 0x110000)]
    message = "".join(map(chr, every))
    answer = wsgate.ask(message, "/hash")
    assert isinstance(answer, str)
    assert answer[64:] == message
    assert answer[:64] == hashlib.sha256(message.encode()).hexdigest()


@pytest.mark.parametrize("piece", [1, 7, 125, 4096, 65536])
def test_a_message_in_many_fragments_is_one_request(wsgate, piece):
    message = patterned(min(piece * 1000, MIB), False)
    with RawClient(wsgate.port, "/hash") as client:
        client.send_message(message, False, fragment_size=piece)
        answer = client.receive_message()
    assert answer[64:] == message
    assert answer[:64].decode() == hashlib.sha256(message).hexdigest()


def test_bytes_that_come_one_at_a_time_make_the_same_message(wsgate):
    with RawClient(wsgate.port, "/hash") as client:
        for byte in client.frame(2, bytes(range(200))):
            client.socket.sendall(bytes((byte,)))
        assert client.receive_message()[64:] == bytes(range(200))


def test_a_ping_between_fragments_is_answered_and_changes_nothing(wsgate):
    with RawClient(wsgate.port, "/hash") as client:
        client.socket.sendall(client.frame(2, b"one ", fin=False) + client.frame(9, b"ping!"))
        pong = client.receive_frame()
        assert (pong.opcode, pong.payload) == (10, b"ping!")
        client.socket.sendall(client.frame(0, b"two"))
        assert client.receive_message()[64:] == b"one two"


def test_a_message_at_the_limit_is_answered_and_one_byte_more_closes_with_1009(wsgate):
    with wsgate.connect("/counted") as client:
        client.send(bytes(17 * MIB))
        # The answer is the limit and a message id: more than max_answer_size.
        assert json.loads(client.recv(timeout=30))["error"]["status"] == 502
        client.send(bytes(17 * MIB + 1))
        with pytest.raises(ConnectionClosed) as closed:
            client.recv(timeout=30)
    assert closed.value.rcvd.code == 1009


# -- what PHP sees


def seen(wsgate, message, path="/seen", **options):
    return json.loads(wsgate.ask(message, path, **options))


def test_a_form_reaches_post_request_and_input(wsgate):
    got = seen(wsgate, "a=1&b[]=x&b[]=y", "/seen?c=3&a=9")
    assert got["post"] == {"a": "1", "b": ["x", "y"]}
    assert got["get"] == {"c": "3", "a": "9"}
    assert got["request"] == {"a": "1", "b": ["x", "y"], "c": "3"}
    assert base64.b64decode(got["input"]) == b"a=1&b[]=x&b[]=y"
    assert got["server"]["CONTENT_TYPE"] == "application/x-www-form-urlencoded"
    assert got["server"]["CONTENT_LENGTH"] == "15"
    assert got["server"]["QUERY_STRING"] == "c=3&a=9"


@pytest.mark.parametrize("text", ['{"a":1}', "[1,2]", "{", "["])
def test_text_that_begins_like_json_is_json(wsgate, text):
    got = seen(wsgate, text)
    assert got["server"]["CONTENT_TYPE"] == "application/json"
    assert got["post"] == []
    assert base64.b64decode(got["input"]).decode() == text


def test_binary_is_an_octet_stream_even_if_it_begins_like_json(wsgate):
    got = seen(wsgate, b"{}")
    assert got["server"]["CONTENT_TYPE"] == "application/octet-stream"
    assert got["server"]["WSGATE_OPCODE"] == "binary"
    assert got["post"] == []
    assert base64.b64decode(got["input"]) == b"{}"


def test_a_route_can_fix_both_content_types(wsgate):
    assert seen(wsgate, "{}", "/fixed")["server"]["CONTENT_TYPE"] == "text/x-a"
    assert seen(wsgate, b"{}", "/fixed")["server"]["CONTENT_TYPE"] == "image/x-b"


def test_an_empty_message_has_the_length_zero(wsgate):
    got = seen(wsgate, "")
    assert got["server"]["CONTENT_LENGTH"] == "0"
    assert got["input"] == ""


def test_messages_of_a_connection_are_numbered_and_share_its_id(wsgate):
    with wsgate.connect("/seen") as client:
        servers = []
        for _ in range(3):
            client.send("x")
            servers.append(json.loads(client.recv(timeout=10))["server"])
    (connection,) = {server["WSGATE_CONNECTION_ID"] for server in servers}
    assert len(connection) >= 32
    ids = [server["WSGATE_MESSAGE_ID"] for server in servers]
    assert ids == [f"{connection}:{number}" for number in (1, 2, 3)]
    assert {server["WSGATE_EVENT"] for server in servers} == {"message"}
    assert {server["REQUEST_METHOD"] for server in servers} == {"POST"}
    assert connection not in wsgate.ask("", "/counted")


def test_a_session_lasts_over_the_messages_of_a_connection(wsgate):
    headers = {"Cookie": "PHPSESSID=abcdefabcdef0123456789abcd; theme=dark"}
    with wsgate.connect("/session", additional_headers=headers) as client:
        got = []
        for _ in range(3):
            client.send("x")
            got.append(json.loads(client.recv(timeout=10)))
    assert [answer["n"] for answer in got] == [1, 2, 3]
    assert {answer["id"] for answer in got} == {"abcdefabcdef0123456789abcd"}
    assert got[0]["cookie"]["theme"] == "dark"


def test_a_hundred_pipelined_messages_are_answered_in_order(wsgate):
    with wsgate.connect("/counted") as client:
        for number in range(100):
            client.send(f"m{number}")
        answers = [client.recv(timeout=10) for _ in range(100)]
    assert [answer.split()[0] for answer in answers] == [f"m{n}" for n in range(100)]
    assert [answer.rpartition(":")[2] for answer in answers] == [str(n + 1) for n in range(100)]


def test_a_client_that_closes_at_once_still_gets_the_answers_that_are_due(wsgate):
    with RawClient(wsgate.port, "/counted") as client:
        frames = [client.frame(1, b"m%d" % number) for number in range(20)]
        client.socket.sendall(b"".join(frames) + client.frame(8, struct.pack(">H", 1000)))
        answers = [client.receive_message() for _ in range(20)]
        close = client.receive_frame()
    assert [answer.split()[0] for answer in answers] == [b"m%d" % number for number in range(20)]
    assert (close.opcode, close.payload[:2]) == (8, struct.pack(">H", 1000))


# -- what the client gets


def answer_to(wsgate, path="/answers", **ask):
    return wsgate.ask(json.dumps(ask), path)


def error_of(answer):
    (error,) = json.loads(answer).values()
    assert set(error) == {"status", "reason", "message_id"}
    return error["status"], error["reason"]


@pytest.mark.parametrize(
    "content_type",
    [
        *("text/html", "text/plain; charset=utf-8", "application/json", "application/ld+json"),
        *("application/xml", "application/javascript", "application/x-www-form-urlencoded"),
    ],
)
def test_a_text_type_gives_a_text_message(wsgate, content_type):
    got = answer_to(wsgate, headers=[f"Content-Type: {content_type}"], body="grün")
    assert got == "grün"


@pytest.mark.parametrize(
    "content_type",
    [
        *("application/octet-stream", "image/png", "audio/ogg", "video/mp4", "application/zip"),
        *("image/svg+xml", "application/pdf", "font/woff2"),
    ],
)
def test_a_binary_type_gives_a_binary_message(wsgate, content_type):
    encoded = base64.b64encode(bytes(range(256))).decode()
    got = answer_to(wsgate, headers=[f"Content-Type: {content_type}"], base64=encoded)
    assert got == bytes(range(256))


def test_no_content_type_is_text(wsgate):
    got = answer_to(wsgate, headers=["Content-Type:"], body="text")
    assert got == "text"


@pytest.mark.parametrize("status", [200, 201, 202, 206, 299])
def test_an_empty_body_with_2xx_is_an_empty_message(wsgate, status):
    assert answer_to(wsgate, status=status) == ""
    assert answer_to(wsgate, status=status, body="b") == "b"


def test_204_gives_nothing_and_the_next_message_its_own_answer(wsgate):
    with wsgate.connect("/answers") as client:
        client.send(json.dumps({"status": 204, "body": "never"}))
        client.send(json.dumps({"body": "second"}))
        assert client.recv(timeout=10) == "second"


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 422, 429, 499])
def test_a_4xx_with_a_body_is_an_answer(wsgate, status):
    assert answer_to(wsgate, status=status, body="problem") == "problem"


@pytest.mark.parametrize(
    ("ask", "status", "reason"),
    [
        ({"status": 500, "body": "secret"}, 500, "the script failed"),
        ({"status": 503, "body": "secret"}, 503, "the script failed"),
        ({"throw": True}, 500, "the script failed"),
        ({"exhaust": True}, 500, "the script failed"),
        ({"status": 404}, 502, "bad answer from the backend"),
        ({"headers": ["Location: /secret"]}, 502, "bad answer from the backend"),
        ({"status": 304}, 502, "bad answer from the backend"),
        ({"base64": base64.b64encode(b"secret\xff").decode()}, 502, "bad answer from the backend"),
        (
            {"base64": base64.b64encode(b"\xed\xa0\x80").decode()},
            502,
            "bad answer from the backend",
        ),
        ({"headers": ["Content-Length: 99"], "body": "x"}, 502, "bad answer from the backend"),
        ({"headers": ["X-Large: " + "x" * 33000], "body": "x"}, 502, "bad answer from the backend"),
    ],
)
def test_a_failure_is_an_error_message_and_the_socket_goes_on(wsgate, ask, status, reason):
    with wsgate.connect("/answers") as client:
        client.send(json.dumps(ask))
        answer = client.recv(timeout=10)
        assert error_of(answer) == (status, reason)
        assert "secret" not in answer
        message_id = json.loads(answer)["error"]["message_id"]
        assert message_id.endswith(":1")
        assert message_id in wsgate.log()
        client.send(json.dumps({"body": "goes on"}))
        assert client.recv(timeout=10) == "goes on"


@pytest.mark.parametrize("end", ["throw", "exhaust"])
@pytest.mark.parametrize("size", [10, 100_000])
def test_output_before_a_fatal_error_is_never_delivered(wsgate, end, size):
    # The longer one is more than PHP's usual buffer: status 200 has left it when it fails.
    answer = answer_to(wsgate, body="half-said " * size, **{end: True})
    assert "half-said" not in answer
    assert error_of(answer)[0] == 500


def test_a_script_that_works_on_after_its_answer_holds_up_no_other_message(wsgate):
    # Frameworks call fastcgi_finish_request() after every answer. One worker of two is free.
    with wsgate.connect("/finish") as client:
        client.send("goes on")
        assert client.recv(timeout=2) == "goes on"
        client.send("next")
        assert client.recv(timeout=2) == "next"


def test_without_kept_connections_work_after_the_answer_holds_up_nothing():
    options = ["--set=pools.default.keep_connections=false"]
    with gateway(*options, script="finish.php", scripts=SCRIPTS) as running:
        running.ask_php()
        with running.connect() as client:
            client.send("goes on")
            assert client.recv(timeout=2) == "goes on"
            client.send("next")
            assert client.recv(timeout=2) == "next"


def test_an_answer_that_php_would_compress_for_a_browser_arrives(wsgate):
    headers = {"Accept-Encoding": "gzip, deflate, br"}
    assert wsgate.ask("x", "/zipped", additional_headers=headers) == '"' + "long " * 1000 + '"'


def test_a_script_with_a_syntax_error_fails_without_its_text(wsgate):
    answer = wsgate.ask("x", "/broken")
    assert error_of(answer) == (500, "the script failed")
    assert "Parse error" in wsgate.log()


def test_a_script_that_was_removed_is_an_error_404(wsgate):
    # It has never run: PHP would go on from its opcode cache for two seconds.
    os.unlink(wsgate.script("gone.php"))
    assert error_of(wsgate.ask("x", "/gone")) == (404, "no such script")


def test_a_route_that_closes_on_errors_says_1011(wsgate):
    with wsgate.connect("/closing") as client:
        client.send(json.dumps({"status": 500}))
        with pytest.raises(ConnectionClosed) as closed:
            client.recv(timeout=10)
    assert closed.value.rcvd.code == 1011
    assert closed.value.rcvd.reason == "the script failed"


def test_what_php_logs_is_one_line_of_our_log(wsgate):
    assert answer_to(wsgate, log="first\nforged: second \x1b[31m", body="ok") == "ok"
    (line,) = [line for line in wsgate.log().splitlines() if "first | forged: second" in line]
    assert "#warn] message " in line
    assert "\x1b" not in wsgate.log()
    assert not [line for line in wsgate.log().splitlines() if not re.match(r"\d{4}-\d\d-", line)]


@pytest.mark.parametrize(
    ("value", "code", "reason"),
    [
        ("4001 see you", 4001, "see you"),
        ("1000", 1000, ""),
        ("3000 grün €", 3000, "grün €"),
        ("4999 " + "x" * 200, 4999, "x" * 123),
        ("1005 no", 1000, ""),
        ("1006 no", 1000, ""),
        ("999 no", 1000, ""),
        ("5000 no", 1000, ""),
        ("rubbish", 1000, ""),
    ],
)
def test_wsgate_close_closes_after_the_answer(wsgate, value, code, reason):
    with wsgate.connect("/answers") as client:
        client.send(json.dumps({"headers": [f"Wsgate-Close: {value}"], "body": "bye"}))
        assert client.recv(timeout=10) == "bye"
        with pytest.raises(ConnectionClosed) as closed:
            client.recv(timeout=10)
    assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (code, reason)


def test_wsgate_close_with_204_closes_without_an_answer(wsgate):
    with wsgate.connect("/answers") as client:
        client.send(json.dumps({"headers": ["Wsgate-Close: 4002 quiet"], "status": 204}))
        with pytest.raises(ConnectionClosed) as closed:
            client.recv(timeout=10)
    assert closed.value.rcvd.code == 4002


def test_an_unknown_wsgate_header_is_a_warning(wsgate):
    assert answer_to(wsgate, headers=["Wsgate-Nonsense: 1"], body="ok") == "ok"
    assert "wsgate-nonsense" in wsgate.log()


def test_a_client_that_vanishes_in_mid_request_costs_nothing(wsgate):
    with RawClient(wsgate.port, "/answers") as client:
        client.send_message(json.dumps({"sleep": 300, "body": "x"}).encode(), True)
        client.reset()
    assert answer_to(wsgate, body="others go on") == "others go on"
