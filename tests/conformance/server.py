"""The server under test: wsgate in front of real PHP that echoes."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

from websockets.asyncio.client import connect
from websockets.exceptions import WebSocketException

from tests.ports import free_port

SETTINGS = (
    # The longest messages of the suite are 16 MiB, and one of 4 MiB comes in 65536 frames.
    "limits.max_message_size=32MiB",
    "limits.max_answer_size=32MiB",
    "limits.max_fragments=131072",
    "limits.compression=true",
    # Every case has a connection of its own.
    "limits.new_connections_per_address=0",
    # PHP drops a form body beyond post_max_size, php://input too.
    "pools.default.ini.post_max_size=32M",
    "pools.default.max_in_flight=2",
)
START_LIMIT = 20.0


@contextlib.contextmanager
def readable_script() -> Iterator[Path]:
    """Copy the echo script to where PHP can read it, whichever user it runs as."""
    with tempfile.TemporaryDirectory(prefix="wsgate-conformance-") as folder:
        os.chmod(folder, 0o755)
        script = Path(folder, "echo.php")
        shutil.copyfile(Path(__file__).with_name("echo.php"), script)
        script.chmod(0o644)
        yield script


async def end(process: asyncio.subprocess.Process) -> None:
    """Stop a process that leads its own group, and whatever it left in the group."""
    for sign, patience in ((signal.SIGTERM, 10.0), (signal.SIGKILL, 5.0)):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, sign)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), patience)


async def echoes(url: str) -> bool:
    """Say whether a message sent there comes back."""
    try:
        async with connect(url, open_timeout=5, proxy=None) as client:
            await client.send("ready?")
            return await asyncio.wait_for(client.recv(), 5) == "ready?"
    except (OSError, WebSocketException):
        return False


async def wait_until_ready(process: asyncio.subprocess.Process, url: str, logs: list[Path]) -> None:
    deadline = time.monotonic() + START_LIMIT
    while not await echoes(url):
        if process.returncode is not None or time.monotonic() > deadline:
            said = "".join(log.read_text(errors="replace")[-2000:] for log in logs if log.exists())
            sys.exit(f"wsgate does not echo through PHP; it said:\n{said}")
        await asyncio.sleep(0.2)


@contextlib.asynccontextmanager
async def wsgate(reports: Path) -> AsyncIterator[dict[str, str]]:
    """Run wsgate with a private PHP pool; give its URLs by scheme, ws and wss."""
    log, output = reports / "wsgate.log", reports / "wsgate.out"
    ports = {"ws": free_port(), "wss": free_port()}
    with readable_script() as script, output.open("wb") as said:
        process = await asyncio.create_subprocess_exec(
            Path(sys.executable).with_name("twistd"),
            *("-n", "--pidfile=", f"--logfile={log}", "wsgate", "--script", script),
            *("--port", f"tcp:{ports['ws']}:interface=127.0.0.1"),
            *("--port", f"tls:{ports['wss']}:interface=127.0.0.1", "--self-signed"),
            *(f"--set={setting}" for setting in SETTINGS),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=said,
            stderr=said,
            start_new_session=True,
            cwd=script.parent,
        )
        urls = {scheme: f"{scheme}://127.0.0.1:{port}" for scheme, port in ports.items()}
        try:
            await wait_until_ready(process, urls["ws"], [output, log])
            yield urls
        finally:
            await end(process)
