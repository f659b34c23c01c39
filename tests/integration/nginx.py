"""A real nginx in front of a FastCGI application, with its stock fastcgi_params."""

import contextlib
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.integration.gateway_process import eventually, free_port

STOCK = "/etc/nginx/fastcgi_params"


def find_nginx() -> str:
    """The path of nginx. AssertionError if there is none."""
    found = shutil.which("nginx", path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")
    assert found, "these tests need a real nginx: install it (Debian: apt-get install nginx-light)"
    return found


def nginx_version() -> tuple[int, ...]:
    """Such as (1, 22, 1)."""
    said = subprocess.run([find_nginx(), "-v"], capture_output=True, text=True, check=True).stderr
    match = re.search(r"nginx/([0-9.]+)", said)
    assert match is not None, said
    return tuple(map(int, match[1].split(".")))


@contextlib.contextmanager
def nginx(application: str, script: str, root: str, params: str = STOCK) -> Iterator[int]:
    """The port of an nginx that sends every path to `script`.

    `application` is as fastcgi_pass has it; `root` is the document root that the script lies in.
    """
    server = f"""
        server_name localhost;
        root {root};
        location / {{
            rewrite ^ /{Path(script).name} break;
            include {params};
            fastcgi_param SCRIPT_FILENAME {script};
            fastcgi_pass {application};
        }}
    """
    with nginx_with(server) as port:
        yield port


@contextlib.contextmanager
def nginx_with(server: str) -> Iterator[int]:
    """The port of an nginx whose only server has these directives beside its port."""
    folder = Path(tempfile.mkdtemp(prefix="wsgate-nginx-"))
    folder.chmod(0o755)
    port = free_port()
    temporary = "".join(
        f"{kind}_temp_path {folder}/{kind};\n"
        for kind in ("client_body", "fastcgi", "proxy", "uwsgi", "scgi")
    )
    (folder / "nginx.conf").write_text(f"""
        daemon off;
        {"user root;" if os.geteuid() == 0 else ""}
        worker_processes 1;
        pid {folder}/pid;
        error_log {folder}/error.log;
        events {{ worker_connections 64; }}
        http {{
            access_log off;
            {temporary}
            server {{
                listen 127.0.0.1:{port};
                {server}
            }}
        }}
    """)
    with (folder / "output").open("wb") as output:
        command = [find_nginx(), "-p", str(folder), "-c", str(folder / "nginx.conf")]
        command += ["-e", str(folder / "error.log")]
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
        )
    try:
        eventually(lambda: _is_up(process, folder), 10, "nginx runs")
        yield port
    finally:
        process.terminate()
        process.wait(10)
        shutil.rmtree(folder, ignore_errors=True)


def _is_up(process: "subprocess.Popen[bytes]", folder: Path) -> bool:
    assert process.poll() is None, (folder / "output").read_text(errors="replace")
    # Written once the ports are bound.
    return (folder / "pid").exists()
