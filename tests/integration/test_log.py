"""The log of a real wsgate: no secrets, no control bytes, no floods, and no end of service."""

import contextlib
import json
import os
import re
import signal
import socket
import subprocess

import pytest
from websockets.exceptions import InvalidStatus

from tests.integration.gateway_process import Workplace, eventually, free_port, gateway, twistd
from tests.integration.test_control import Control
from tests.integration.websocket_client import connect

SECRETS = ("s3cret-cookie", "s3cret-bearer", "s3cret-query", "s3cret-message", "s3cret-protocol")

MORE = re.compile(r"(\d+) more like this")

FAILS = "<?php http_response_code(500); error_log(\"bad\\x1b[31m\\r\\nforged: line\"); echo 'x';"


def test_nothing_of_a_clients_secrets_and_no_control_byte_is_in_the_log():
    headers = {"Cookie": f"sid={SECRETS[0]}", "Authorization": f"Bearer {SECRETS[1]}"}
    with gateway(scripts={"fails.php": FAILS}, script="fails.php") as running:
        with running.connect(f"/x?token={SECRETS[2]}", additional_headers=headers) as client:
            client.send(SECRETS[3])
            assert json.loads(client.recv(timeout=20))["error"]["status"] == 500
        with (
            contextlib.suppress(InvalidStatus),
            running.connect(
                f"/x?token={SECRETS[2]}",
                additional_headers=headers,
                origin="https://evil.example",
                subprotocols=[SECRETS[4]],
            ),
        ):
            pass
        for raw in (
            f"GET /x?token={SECRETS[2]} HTTP/1.1\r\nHost: x\r\nCookie: {SECRETS[0]}\r\n\r\n",
            f"BREW /x?{SECRETS[2]}\x1b[31m HTTP/1.1\r\nCookie : {SECRETS[0]}\r\n\r\n",
            f"\x00\x1b]0;{SECRETS[2]}\x07\r\n\r\n",
        ):
            with socket.create_connection(("127.0.0.1", running.port)) as stranger:
                stranger.sendall(raw.encode("latin-1"))
                stranger.settimeout(10)
                while stranger.recv(4096):
                    pass
        eventually(lambda: "403 to 127.0.0.1" in running.log(), 5, "the refusal is logged")
        assert running.stop() == 0
        log = running.log()
        for secret in SECRETS:
            assert secret not in log
        assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]", log)
        assert "\nforged" not in log
        said = [line for line in log.splitlines() if "bad\\x1b[31m" in line]
        # PHP-FPM writes it once more, to its own log, which a private one's is wsgate's.
        assert any(re.search(r"message [0-9a-f]{32}:1: ", line) for line in said)
        assert "Traceback" not in log


def test_a_flood_of_failures_is_ten_lines_and_a_number():
    with gateway(
        "--control=unix:{folder}/control", scripts={"fails.php": FAILS}, script="fails.php"
    ) as running:
        for _ in range(4):
            with running.connect() as client:
                for _ in range(50):
                    client.send("x")
                for _ in range(50):
                    status = json.loads(client.recv(timeout=20))["error"]["status"]
                    assert status == 500
        control = Control(running.place.folder / "control")
        figures = control.figures()
        assert figures["wsgate_messages_total", "/", "refused"] == 200
        suppressed = figures["wsgate_log_suppressed_total",]
        assert running.stop() == 0
        lines = running.log().splitlines()
        more = {line: int(found[1]) for line in lines if (found := MORE.search(line))}
        of_messages = [line for line in lines if ": the script answered with status 500" in line]
        assert len([line for line in of_messages if line not in more]) <= 50
        assert sum(more.get(line, 1) for line in of_messages) == 200
        # PHP's own log says as much again.
        assert sum(more.values()) == suppressed > 100


@pytest.mark.parametrize("how", ["closed pipe", "full disk"])
def test_serving_goes_on_when_the_log_cannot_be_written_and_the_loss_is_counted(how):
    place = Workplace()
    script = place.write("echo.php", "<?php echo file_get_contents('php://input');")
    port = free_port()
    number, writing = os.pipe()
    command = [twistd(), "-n", "--pidfile=", "wsgate", "--script", script]
    command += [f"--port=tcp:{port}:interface=127.0.0.1", f"--control=unix:{place.folder}/control"]
    command += ["--set=pools.default.max_in_flight=2"]
    full = open("/dev/full", "wb") if how == "full disk" else None  # noqa: SIM115 - closed below
    process = subprocess.Popen(
        command,
        cwd=place.folder,
        stdin=subprocess.DEVNULL,
        stdout=full or writing,
        stderr=full or writing,
        start_new_session=True,
    )
    control = Control(place.folder / "control")
    try:
        os.close(writing)
        if how == "closed pipe":
            # Lines of the start are read; then whoever read them is gone.
            os.read(number, 100)
        os.close(number)
        eventually(control.ready, 20, "it is ready")
        for said in ("a", "b"):
            with connect(f"ws://127.0.0.1:{port}/") as client:
                client.send(said)
                assert client.recv(timeout=10) == said
            # A refusal is a line of log.
            with socket.create_connection(("127.0.0.1", port)) as stranger:
                stranger.sendall(b"nonsense\r\n\r\n")
                assert stranger.recv(100).startswith(b"HTTP/1.1 400")
        eventually(lambda: control.figures()["wsgate_log_lost_total",] >= 2, 5, "both are lost")
        process.send_signal(signal.SIGTERM)
        process.wait(20)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        if full is not None:
            full.close()
        place.remove()
