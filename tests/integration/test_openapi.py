"""The running server against its own description: schemathesis asks, real sockets answer."""

import contextlib
import os
import re
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.integration.gateway_process import free_port, gateway
from tests.integration.test_control import Control

TOKEN = "0123456789abcdef"
HOOKS = Path(__file__).with_name("openapi_hooks.py")
ROOT = Path(__file__).parents[2]

INTRODUCE = """<?php
header('Wsgate-Subscribe: room');
header('Wsgate-User: jane');
echo $_SERVER['WSGATE_CONNECTION_ID'];
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
def interface(kind):
    """A wsgate, the port of its control interface, and the header that it wants."""
    scripts = {"introduce.php": INTRODUCE, "token": f"{TOKEN}\n"}
    script = {"scripts": scripts, "script": "introduce.php", "workers": 1}
    if kind == "token":
        port = free_port()
        options = [f"--control=tcp:{port}:interface=127.0.0.1"]
        options += ["--control-token-file={scripts}/token"]
        with gateway(*options, **script) as running:
            yield running, port, [f"--header=Authorization: Bearer {TOKEN}"]
    else:
        with gateway("--control=unix:{folder}/control", **script) as running:
            path = running.place.folder / "control"
            with relay(str(path)) as port:
                yield running, port, []


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["token", "unix"])
def test_every_answer_is_as_described(kind, tmp_path):
    with interface(kind) as (running, port, header):
        running.ask_php()
        asked = subprocess.run(
            [
                str(Path(sys.executable).with_name("st")),
                *("run", f"http://127.0.0.1:{port}/openapi.json", *header),
                *("--phases=coverage,fuzzing", "--max-examples=10", "--seed=1", "--no-color"),
                *("--checks=all", "--continue-on-failure"),
            ],
            cwd=tmp_path,
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
        # Its own description is all it does not ask for.
        assert "Operations:       13 selected / 13 total" in asked.stdout
        assert int(re.search(r"(\d+) generated", asked.stdout)[1]) > 200
        assert "Traceback" not in running.log()
        if kind == "unix":
            figures = Control(running.place.folder / "control").figures()
            assert not [key for key in figures if key[1:] in (("500",), ("504",))]
            for to in ("connection", "channel", "user"):
                assert figures["wsgate_control_pushes_total", to] > 0
