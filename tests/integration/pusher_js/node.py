"""A Node process with pusher-js, driven from tests."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import threading
import time
from pathlib import Path

HERE = Path(__file__).parent
MODULES = HERE.parent.parent.parent / ".tools/pusher-js/node_modules"
DEADLINE = 20.0


def modules():
    """Where npm has put pusher-js and Laravel Echo."""
    assert (MODULES / "pusher-js").is_dir(), "pusher-js is missing; run scripts/setup --tests"
    return MODULES


class PusherJS:
    """Clients by name. A context manager."""

    def __init__(self, **environment):
        self._happened = queue.Queue()
        self._seen = []
        self._process = subprocess.Popen(
            ["node", str(HERE / "driver.js"), str(modules())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **environment},
        )
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        for line in self._process.stdout:
            self._happened.put(json.loads(line))

    def __enter__(self):
        return self

    def __exit__(self, *_exception):
        self._process.stdin.close()
        self._process.wait(10)
        self._process.stdout.close()

    def do(self, what, client, **more):
        """Let a client do something."""
        self._process.stdin.write(json.dumps({"do": what, "client": client, **more}) + "\n")
        self._process.stdin.flush()

    def wait(self, client, on, event):
        """The data of the next such event that was not waited for; AssertionError if none comes."""
        deadline = time.monotonic() + DEADLINE
        while True:
            for happened in self._seen:
                if (happened["client"], happened["on"], happened["event"]) == (client, on, event):
                    self._seen.remove(happened)
                    return happened["data"]
            left = deadline - time.monotonic()
            assert left > 0, f"{client} got no {event} on {on}, but {self._seen}"
            try:
                self._seen.append(self._happened.get(timeout=left))
            except queue.Empty:
                continue

    def connect(self, client, key, port, **options):
        """Connect, and give the socket id."""
        self.do(
            "connect",
            client,
            key=key,
            options={
                "cluster": "",
                "wsHost": "127.0.0.1",
                "wsPort": port,
                "forceTLS": False,
                "enabledTransports": ["ws"],
                "disableStats": True,
                **options,
            },
        )
        return self.wait(client, "connection", "connected")["socket_id"]

    def subscribe(self, client, channel):
        """Subscribe, and give what the server says with it."""
        self.do("subscribe", client, channel=channel)
        return self.wait(client, channel, "pusher:subscription_succeeded")

    def got(self, client, on):
        """What has come by now and was not waited for: events and data."""
        while not self._happened.empty():
            self._seen.append(self._happened.get())
        return [
            (happened["event"], happened["data"])
            for happened in self._seen
            if (happened["client"], happened["on"]) == (client, on)
        ]
