"""Streamed answers through the whole service and real php-fpm: order is what proves them."""

import contextlib
import json
import os
import signal
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed

from tests.integration.gateway_process import eventually, gateway
from tests.integration.php_fpm import php_fpm
from tests.integration.raw_client import RawClient

LINES = 5000

# A script waits for files that the test makes, and leaves files that the test waits for.
BEGIN = """<?php
$name = file_get_contents('php://input');
$folder = '{scripts}/';
function await(string $file): void {
    for ($i = 0; $i < 3000 && !file_exists($file); $i++) { usleep(5000); clearstatcache(); }
}
"""
STREAM = (
    BEGIN
    + """
header('Wsgate-Stream: ' . ($_GET['as'] ?? 'lines'));
while (ob_get_level()) ob_end_flush();
"""
)

SCRIPTS = {
    "steps.php": STREAM
    + """
foreach (['one', 'two', 'three'] as $step) {
    echo $step, "\\n";
    flush();
    await("$folder$name.$step");
}
""",
    # Ends only by being stopped, and then says so.
    "endless.php": STREAM
    + """
register_shutdown_function(function () use ($folder, $name) {
    file_put_contents("$folder$name.stopped", connection_aborted() ? 'aborted' : 'ran');
});
for ($i = 0; $i < 3000; $i++) { echo "tick $i\\n"; flush(); usleep(5000); }
""",
    # As fast as it can, and says how far it has come.
    "flood.php": STREAM
    + """
$line = str_repeat('x', 8000);
for ($i = 0; $i < 5000; $i++) {
    echo "$line\\n";
    flush();
    file_put_contents("$folder$name.count", (string) ($i + 1));
}
""",
    "parts.php": STREAM
    + """
echo "two\\nlines"; flush();
echo 'gr', "\\xc3"; flush();
echo "\\xbcn"; flush();
echo str_repeat('a', 8184); flush();
""",
    "dies.php": STREAM
    + """
echo "said\\nhalf"; flush();
throw new Exception('secret-cause');
""",
    "events.php": STREAM.replace(
        "<?php",
        """<?php
if ($_SERVER['WSGATE_EVENT'] === 'disconnect') {
    file_put_contents('{scripts}/left', $_SERVER['WSGATE_CLOSE_CODE'] . "\\n", FILE_APPEND);
    exit;
}""",
        1,
    )
    + """for ($i = 0; $i < 3000; $i++) { echo "tick $i\n"; flush(); usleep(5000); }""",
    "plain.php": "<?php echo 'plain ', file_get_contents('php://input');",
    "implicit.php": "<?php header('Wsgate-Stream: lines'); ob_end_flush(); ob_implicit_flush();\n"
    'echo "a\\n"; echo "b\\n";',
    "closes.php": STREAM.replace("<?php", "<?php header('Wsgate-Close: 4001 done');")
    + """echo "last\\n";""",
    "buffered.php": "<?php header('Wsgate-Stream: lines');\necho \"a\\nb\\n\"; echo 'c';",
}


EVENTS = 'events = ["message", "disconnect"]\n'


def config(**limits):
    routes = "".join(
        f'[[route]]\npath = "/{name[:-4]}"\nscript = "{{scripts}}/{name}"\n'
        + (EVENTS if name == "events.php" else "")
        for name in SCRIPTS
    )
    text = "".join(f"{name} = {json.dumps(value)}\n" for name, value in limits.items())
    return f"[limits]\nnew_connections_per_address = 0\n{text}" + "{pool}" + routes


POOL = "[pools.default]\nmax_in_flight = {workers}\nmax_streams = {streams}\n{more}\n"


def running(workers=4, streams=2, more="", *options, **limits):
    pool = POOL.format(workers=workers, streams=streams, more=more)
    scripts = {**SCRIPTS, "wsgate.toml": config(**limits).replace("{pool}", pool)}
    return gateway(
        "--config={scripts}/wsgate.toml", *options, scripts=scripts, script=None, workers=None
    )


@pytest.fixture(scope="module")
def wsgate():
    with running() as started:
        yield started


@pytest.fixture
def name(request):
    return request.node.name.removeprefix("test_")[:40]


def touch(wsgate, name):
    Path(wsgate.script(name)).touch()


def told(wsgate, name):
    """What a script has left in a file, once it has."""
    path = Path(wsgate.script(name))
    return eventually(lambda: path.exists() and path.read_text(), 10, f"the script left {name}")


def rest_of(client):
    """The messages up to the end of a stream, and what the end says."""
    messages = []
    while True:
        message = client.recv(timeout=20)
        if isinstance(message, str) and message.startswith('{"stream":"end"'):
            return messages, json.loads(message)
        messages.append(message)


def test_a_line_is_at_the_client_while_the_script_goes_on(wsgate, name):
    with wsgate.connect("/steps") as client:
        client.send(name)
        for step in ("one", "two", "three"):
            # The script waits for this file, so its end cannot have sent the line.
            assert client.recv(timeout=20) == step
            touch(wsgate, f"{name}.{step}")
        messages, end = rest_of(client)
        assert messages == []
        assert end == {"stream": "end", "message_id": end["message_id"], "messages": 3}
        assert end["message_id"].endswith(":1")


def test_what_is_asked_behind_a_stream_is_answered_behind_it(wsgate, name):
    with wsgate.connect("/steps") as client:
        client.send(name)
        client.send(name)
        assert client.recv(timeout=20) == "one"
        for step in ("one", "two", "three"):
            touch(wsgate, f"{name}.{step}")
        assert rest_of(client)[1]["message_id"].endswith(":1")
        messages, end = rest_of(client)
        assert (messages, end["message_id"][-2:]) == (["one", "two", "three"], ":2")


def test_parts_are_what_was_flushed_and_never_half_a_character(wsgate, name):
    with wsgate.connect("/parts?as=parts") as client:
        client.send(name)
        messages, end = rest_of(client)
    assert messages == ["two\nlines", "gr", "ün", "a" * 8184]
    assert end["messages"] == 4


def test_lines_do_not_depend_on_what_was_flushed(wsgate, name):
    with wsgate.connect("/parts") as client:
        client.send(name)
        assert rest_of(client)[0] == ["two", "linesgrün" + "a" * 8184]
    for path in ("/implicit", "/buffered"):
        with wsgate.connect(path) as client:
            client.send(name)
            assert rest_of(client)[0][:2] == ["a", "b"]


def test_a_script_that_dies_ends_its_stream_with_an_error_and_half_a_line_is_not_sent(wsgate, name):
    with wsgate.connect("/dies") as client:
        client.send(name)
        messages, end = rest_of(client)
        assert messages == ["said"]
        assert (end["messages"], end["error"]["status"]) == (1, 500)
        assert "secret" not in json.dumps(end)
        client.send(name)
        assert rest_of(client)[0] == ["said"]


def test_a_close_comes_behind_the_end(wsgate, name):
    with wsgate.connect("/closes") as client:
        client.send(name)
        messages, end = rest_of(client)
        assert (messages, end["messages"]) == (["last"], 1)
        with pytest.raises(ConnectionClosed) as closed:
            client.recv(timeout=20)
        assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (4001, "done")


@pytest.mark.parametrize("how", ["closes", "is cut off"])
def test_php_is_stopped_when_the_client_leaves(wsgate, how):
    name = how.replace(" ", "_")
    with wsgate.connect("/endless") as client:
        client.send(name)
        assert client.recv(timeout=20) == "tick 0"
        if how == "closes":
            # Answered at once, not when the script is done.
            client.close()
            assert client.close_code == 1000
        else:
            client.socket.close()
        assert told(wsgate, f"{name}.stopped") == "aborted"
    # Its place is free, and its worker works again: more requests than there are workers.
    for _ in range(6):
        assert wsgate.ask("again", "/plain") == "plain again"


def test_a_script_hears_of_a_client_that_left_in_mid_stream_once(wsgate):
    with wsgate.connect("/events") as client:
        client.send("go")
        assert client.recv(timeout=20) == "tick 0"
        client.close(4002)
    assert told(wsgate, "left") == "4002\n"
    wsgate.ask("later", "/plain")
    assert told(wsgate, "left") == "4002\n"


def test_a_client_that_takes_nothing_holds_php_up(wsgate, name):
    count = Path(wsgate.script(f"{name}.count"))
    before = []

    def stands():
        before.append(int(count.read_text() or 0))
        return before[-5:] == [before[-1]] * 5 and before[-1]

    with RawClient(wsgate.port, "/flood") as client:
        client.send_message(name.encode())
        eventually(count.exists, 10, "the script runs")
        assert eventually(stands, 20, "the script waits in its output") < LINES
        # Who takes all of it lets PHP go on to its end: nothing was lost.
        lines = [client.receive_message() for _ in range(LINES)]
        assert lines == [b"x" * 8000] * LINES
        end = json.loads(client.receive_message())
        assert (end["messages"], "error" in end) == (LINES, False)


def test_a_stream_beyond_max_streams_is_overloaded_and_messages_are_not(wsgate, name):
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(wsgate.connect("/steps")) for _ in range(3)]
        for number, client in enumerate(clients[:2]):
            client.send(f"{name}{number}")
            assert client.recv(timeout=20) == "one"
        clients[2].send(f"{name}2")
        refused = json.loads(clients[2].recv(timeout=20))
        assert set(refused) == {"error"}
        assert refused["error"]["status"] == 503
        touch(wsgate, f"{name}2.one")
        for number in range(6):
            assert wsgate.ask(str(number), "/plain") == f"plain {number}"
        for number, client in enumerate(clients[:2]):
            for step in ("one", "two", "three"):
                touch(wsgate, f"{name}{number}.{step}")
            assert rest_of(client)[1]["messages"] == 3
        # A place is free again.
        for step in ("one", "two", "three"):
            touch(wsgate, f"{name}2.{step}")
        clients[2].send(f"{name}2")
        assert rest_of(clients[2])[1]["messages"] == 3


def test_a_flood_of_streams_leaves_room_for_messages(name):
    with running(workers=4, streams=2) as wsgate, contextlib.ExitStack() as stack:
        clients = [stack.enter_context(wsgate.connect("/endless")) for _ in range(20)]
        for number, client in enumerate(clients):
            client.send(f"{name}{number}")
        firsts = [client.recv(timeout=20) for client in clients]
        assert firsts.count("tick 0") == 2
        assert sum('"status":503' in first for first in firsts) == 18
        for number in range(20):
            assert wsgate.ask(str(number), "/plain") == f"plain {number}"
        for client in clients:
            client.socket.close()
        # All of them were stopped, also those that were refused.
        for number in range(20):
            assert told(wsgate, f"{name}{number}.stopped") == "aborted"


def test_a_stream_ends_when_its_time_is_over(name):
    with running(stream_timeout="500ms") as wsgate, wsgate.connect("/endless") as client:
        client.send(name)
        messages, end = rest_of(client)
        assert messages[0] == "tick 0"
        assert end["error"]["status"] == 504
        assert end["messages"] == len(messages) < 3000
        assert told(wsgate, f"{name}.stopped") == "aborted"


def test_a_stream_ends_when_php_says_nothing_for_response_timeout(name):
    more = 'response_timeout = "1s"'
    with running(4, 2, more) as wsgate, wsgate.connect("/steps") as client:
        client.send(name)
        messages, end = rest_of(client)
        assert (messages, end["error"]["status"], end["messages"]) == (["one"], 504, 1)


def test_a_stream_of_too_many_messages_is_cut_behind_the_last_one(name):
    with running(stream_messages=2) as wsgate, wsgate.connect("/steps") as client:
        client.send(name)
        for step in ("one", "two"):
            touch(wsgate, f"{name}.{step}")
        messages, end = rest_of(client)
        assert (messages, end["error"]["status"]) == (["one", "two"], 502)


def test_php_killed_in_mid_stream_is_an_error_and_messages_go_on(name):
    with running() as wsgate, wsgate.connect("/steps") as client:
        client.send(name)
        assert client.recv(timeout=20) == "one"
        for pid in wsgate.fpm_workers():
            os.kill(pid, signal.SIGKILL)
        messages, end = rest_of(client)
        assert (messages, end["error"]["status"], end["messages"]) == ([], 502, 1)
        assert wsgate.ask("alive", "/plain") == "plain alive"


def test_a_stop_lets_a_stream_end_and_says_so_where_it_does_not(name):
    with running(4, 2, "", "--set=gateway.drain_timeout=1s") as wsgate:
        with wsgate.connect("/endless") as client:
            client.send(name)
            assert client.recv(timeout=20) == "tick 0"
            wsgate.process.terminate()
            _, end = rest_of(client)
            assert end["error"]["status"] == 504
            with pytest.raises(ConnectionClosed) as closed:
                client.recv(timeout=20)
            assert closed.value.rcvd.code == 1001
        assert wsgate.process.wait(20) == 0


def test_streams_come_through_compression_too(name):
    with running(compression=True) as wsgate:
        with wsgate.connect("/flood", compression="deflate") as client:
            client.send(name)
            messages, end = rest_of(client)
        assert {*messages} == {"x" * 8000}
        assert end["messages"] == 5000


@pytest.mark.parametrize("listen", ["unix", "tcp"])
def test_a_php_fpm_of_its_own_streams_and_is_stopped_by_a_client_that_leaves(listen, name):
    with php_fpm(workers=2, listen=listen) as fpm:
        filled = {n: t.replace("{scripts}", str(fpm.scripts)) for n, t in SCRIPTS.items()}
        script = fpm.write_script("endless.php", filled["endless.php"])
        with (
            gateway(
                f"--fastcgi={fpm.endpoint}",
                f"--script={script}",
                "--set=limits.new_connections_per_address=0",
                script=None,
            ) as wsgate,
            wsgate.connect() as client,
        ):
            client.send(name)
            assert client.recv(timeout=20) == "tick 0"
            client.socket.close()
            stopped = fpm.scripts / f"{name}.stopped"
            assert eventually(lambda: stopped.exists() and stopped.read_text()) == "aborted"
