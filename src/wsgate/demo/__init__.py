"""The demo: one page, and the PHP scripts that answer it."""

from __future__ import annotations

import atexit
import hashlib
import html
import shutil
import tempfile
from base64 import b64encode
from collections.abc import Callable
from functools import cache
from importlib import resources
from pathlib import Path

ROUTES: tuple[tuple[str, str], ...] = (("/echo", "echo.php"), ("/classic", "classic.php"))
"""The paths that the page connects to, and the script that answers each."""


@cache
def page() -> tuple[tuple[tuple[str, str], ...], bytes]:
    """The header fields and the body of the page; it needs nothing else, from nowhere."""
    template = script_source("index.html").decode()
    # Shown from the file, so that the page never praises another script than the one that answers.
    text = template.replace("{{echo.php}}", html.escape(script_source("echo.php").decode().strip()))
    headers = (
        ("Content-Type", "text/html; charset=utf-8"),
        ("Content-Security-Policy", _policy(text)),
        ("X-Content-Type-Options", "nosniff"),
        ("Referrer-Policy", "no-referrer"),
        ("Cache-Control", "no-cache"),
    )
    return headers, text.encode()


def script_source(name: str) -> bytes:
    """The content of one of the demo's files."""
    return resources.files(__name__).joinpath(name).read_bytes()


def script_folder(is_readable: Callable[[str], bool]) -> str:
    """A folder with the scripts of `ROUTES` that PHP's user can read.

    The package's own where `is_readable(path)` says so of its scripts; else copies in a new folder
    below the system's temporary one, removed when Python exits.
    """
    package = Path(__file__).parent
    if all(is_readable(str(package / name)) for _, name in ROUTES):
        return str(package)
    folder = Path(tempfile.mkdtemp(prefix="wsgate-demo-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    for _, name in ROUTES:
        (folder / name).write_bytes(script_source(name))
        (folder / name).chmod(0o644)
    folder.chmod(0o755)
    return str(folder)


def _policy(text: str) -> str:
    """A Content-Security-Policy under which only the page's own style and script run."""
    return "; ".join(
        (
            "default-src 'none'",
            f"style-src {_hash(text, 'style')}",
            f"script-src {_hash(text, 'script')}",
            "connect-src 'self'",
            "img-src data:",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
        )
    )


def _hash(text: str, element: str) -> str:
    content = text.split(f"<{element}>", 1)[1].split(f"</{element}>", 1)[0]
    return f"'sha256-{b64encode(hashlib.sha256(content.encode()).digest()).decode()}'"
