"""The running server against its own description: schemathesis asks, real sockets answer."""

import contextlib
import os
import re
import socket
import subprocess
import sys
import threading
import urllib.request
from pathlib import Path

import jwt
import pytest

from tests.integration.gateway_process import free_port, gateway
from tests.integration.test_control import Control

TOKEN = "0123456789abcdef"
KEY = "a-key-that-is-long-enough-to-be-taken"
HOOKS = Path(__file__).with_name("openapi_hooks.py")
ROOT = Path(__file__).parents[2]

INTRODUCE = """<?php
header('Wsgate-Subscribe: room');
header('Wsgate-User: jane');
echo $_SERVER['WSGATE_CONNECTION_ID'];
"""

# Beside the plain route of --script; both have the channel `room`.
GRIP = """
[pools.default]
max_in_flight = 1
[[route]]
path = "/grip"
script = "introduce.php"
dialect = "grip"
grip_key_file = "key"
"""


def pump(source, target):
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)


@contextlib.contextmanager
def relay(path):
    """A port of this machine that leads to the UNIX socket at `path`."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve():
            with contextlib.suppress(OSError):
                while True:
                    near, _ = listener.accept()
                    far = socket.socket(socket.AF_UNIX)
                    far.connect(path)
                    for ends in ((near, far), (far, near)):
                        threading.Thread(target=pump, args=ends, daemon=True).start()

        threading.Thread(target=serve, daemon=True).start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)


@contextlib.contextmanager
def interface(with_token):
    """A wsgate, the port of its control interface, and the header that it wants."""
    scripts = {"introduce.php": INTRODUCE, "token": f"{TOKEN}\n", "key": KEY, "wsgate.toml": GRIP}
    script = {"scripts": scripts, "script": "introduce.php"}
    if with_token:
        port = free_port()
        options = [f"--control=tcp:{port}:interface=127.0.0.1"]
        options += ["--control-token-file={scripts}/token"]
        with gateway("--config={scripts}/wsgate.toml", *options, **script) as running:
            yield running, port, {"Authorization": f"Bearer {TOKEN}"}
    else:
        options = ["--control=unix:{folder}/control"]
        with gateway("--config={scripts}/wsgate.toml", *options, **script) as running:
            path = running.place.folder / "control"
            with relay(str(path)) as port:
                yield running, port, {}


def get(port, path, headers):
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", headers=headers)
    with urllib.request.urlopen(request, timeout=10) as response:
        return response.read().decode()


def figure(metrics, name):
    return int(re.search(rf"^{re.escape(name)} (\d+)", metrics, re.MULTILINE)[1])


def run(running, folder, *arguments):
    """What schemathesis says; it has nothing to find fault with."""
    asked = subprocess.run(
        [
            *(str(Path(sys.executable).with_name("st")), "run", *arguments),
            *("--phases=coverage,fuzzing", "--max-examples=10", "--seed=1", "--no-color"),
            *("--checks=all", "--continue-on-failure"),
        ],
        cwd=folder,
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "SCHEMATHESIS_HOOKS": str(HOOKS),
            "WSGATE_URL": running.url,
        },
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert asked.returncode == 0, asked.stdout + asked.stderr
    return asked.stdout


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["token", "unix"])
def test_every_answer_is_as_described(kind, tmp_path):
    with interface(kind == "token") as (running, port, headers):
        running.ask_php()
        header = [f"--header={name}: {value}" for name, value in headers.items()]
        said = run(running, tmp_path, f"http://127.0.0.1:{port}/openapi.json", *header)
        # Its own description is all it does not ask for.
        assert "Operations:       14 selected / 14 total" in said
        assert int(re.search(r"(\d+) generated", said)[1]) > 200
        assert "Traceback" not in running.log()
        if kind == "unix":
            figures = Control(running.place.folder / "control").figures()
            assert not [key for key in figures if key[1:] in (("500",), ("504",))]
            for to in ("connection", "channel", "user"):
                assert figures["wsgate_control_pushes_total", to] > 0


@pytest.mark.slow
def test_publish_answers_as_described_whoever_has_signed_with_the_key_of_a_route(tmp_path):
    with interface(with_token=True) as (running, port, headers):
        running.ask_php()
        described = tmp_path / "openapi.json"
        described.write_text(get(port, "/openapi.json", headers))
        signed = jwt.encode({"iss": "app", "exp": 2**33}, KEY, "HS256")
        said = run(
            running,
            tmp_path,
            str(described),
            f"--url=http://127.0.0.1:{port}",
            "--include-path=/publish/",
            f"--header=Authorization: Bearer {signed}",
        )
        assert "1 selected / 15 total" in said
        metrics = get(port, "/metrics", headers)
        for status in (200, 400, 401):
            name = f'wsgate_control_requests_total{{status="{status}"}}'
            assert figure(metrics, name) > 1
        assert figure(metrics, "wsgate_deliveries_total") > 0
        assert "Traceback" not in running.log()
