"""What is measured side by side: how each gateway is started in front of the same PHP-FPM."""

from __future__ import annotations

import os
import random
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from string import Template

from bench.opening import ask
from bench.processes import Processes, StartFailed

PEERS = Path(__file__).parent / "peers"
KEPT_CONNECTIONS = 4
_MODULES = ("/usr/lib/nginx/modules", "/usr/lib64/nginx/modules", "/usr/share/nginx/modules")


@dataclass
class Bench:
    """The folder of one run, and the ports and files that its programs share."""

    folder: Path
    files: int
    wsgate_python: str
    tools: Path
    port: int = field(init=False)
    tls_port: int = field(init=False)
    http_port: int = field(init=False)
    push_port: int = field(init=False)

    def __post_init__(self) -> None:
        self.port, self.tls_port, self.http_port, self.push_port = _free_ports(4)
        self.php = self.folder / "php.sock"
        self.turns = self.folder / "turns.json"
        self.script = self._copied("echo.php")
        self.fanout_script = self._copied("fanout.php")
        self.cached_script = self._copied("cached.php")
        self.grip_script = self._copied("grip.php")
        self.certificate = self.folder / "certificate.pem"
        self.private_key = self.folder / "key.pem"
        _make_certificate(self.certificate, self.private_key)

    def fill(self, template: str, to: str, **more: str) -> Path:
        """Write a file of peers/ into the folder, with what it leaves open filled in."""
        modules = next((path for path in _MODULES if Path(path).is_dir()), _MODULES[0])
        values = {
            **{name: str(value) for name, value in vars(self).items()},
            "dir": str(self.folder),
            "modules": modules,
            "user_line": "user nobody nogroup;" if os.geteuid() == 0 else "",
            **more,
        }
        target = self.folder / to
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(Template((PEERS / template).read_text()).safe_substitute(values))
        return target

    def _copied(self, name: str) -> Path:
        # PHP may run as a user who cannot read the clone.
        return Path(shutil.copy(PEERS / name, self.folder / name))


class PHP:
    """The one PHP-FPM of a run: static, four workers, opcache; or one more for work beside it."""

    def __init__(self, bench: Bench, name: str = "php", workers: int = KEPT_CONNECTIONS) -> None:
        self._bench = bench
        self._name = name
        self._workers = workers
        self.socket = bench.folder / f"{name}.sock"
        self.processes = Processes(bench.folder / f"{name}-fpm.log")

    def start(self) -> None:
        """Start it; raises StartFailed."""
        bench = self._bench
        configuration = bench.folder / f"{self._name}-fpm.conf"
        user = "user = nobody\ngroup = nogroup\n" if os.geteuid() == 0 else ""
        configuration.write_text(
            f"[global]\nerror_log = {bench.folder}/{self._name}-fpm-error.log\ndaemonize = no\n"
            f"[bench]\n{user}listen = {self.socket}\nlisten.mode = 0666\nlisten.backlog = 4096\n"
            f"pm = static\npm.max_children = {self._workers}\n"
            "php_admin_value[post_max_size] = 64M\nphp_admin_value[memory_limit] = 256M\n"
        )
        self.processes.start(
            [_php_fpm(), "-F", "-y", str(configuration), "-d", "opcache.enable=1"],
            cwd=bench.folder,
        )
        deadline = time.monotonic() + 10
        while not self.socket.exists():
            self.processes.check()
            if time.monotonic() > deadline:
                raise StartFailed(f"php-fpm does not listen: {self.processes.tail()}")
            time.sleep(0.02)

    def stop(self) -> None:
        """Stop it."""
        self.processes.stop()


Start = Callable[[Bench, Processes], None]


@dataclass(frozen=True)
class Gateway:
    """`start` begins its programs; PHP-FPM itself has none.

    `once` says that it opens a connection to PHP for each request; `others` are further ways to run
    it, by name: "echo" answers without PHP, "turns" has a meter on its reactor, "fanout" has one
    and sends what is published to all who have subscribed, "same" runs a script whose answers may
    be cached, and "cached" caches them.
    """

    name: str
    title: str
    start: Start | None
    once: bool = False
    others: Mapping[str, Start] = field(default_factory=dict)

    @property
    def is_limit(self) -> bool:
        """Whether this is PHP-FPM alone."""
        return self.start is None

    @property
    def variants(self) -> set[str]:
        """The names of the ways to run it; the usual one has none."""
        return {"", *self.others}

    def run(self, bench: Bench, variant: str = "") -> Processes:
        """Start it and wait until a message has been answered, plain and over TLS."""
        processes = Processes(bench.folder / f"{self.name}.log")
        start = self.others[variant] if variant else self.start
        if start is None:
            return processes
        try:
            start(bench, processes)
            _wait_for_answer(processes, bench.port, tls=False)
            if variant != "echo":
                _wait_for_answer(processes, bench.tls_port, tls=True)
        except BaseException:
            processes.stop()
            raise
        return processes


def _wait_for_answer(processes: Processes, port: int, tls: bool) -> None:
    deadline = time.monotonic() + 20
    while True:
        processes.check()
        try:
            answer = ask(port, tls, b"?is PHP there")
        except OSError as error:
            answer = str(error).encode()
        if answer == b"!is PHP there":
            return
        if time.monotonic() > deadline:
            raise StartFailed(f"answers {answer[:200]!r}; its log: {processes.tail()}")
        time.sleep(0.05)


def _start_wsgate(
    kept: bool, metered: bool = False, script: str = "script", more: Sequence[str] = ()
) -> Start:
    settings = [
        "limits.max_connections=20000",
        "limits.max_connections_per_address=0",
        "limits.new_connections_per_address=0",
        "limits.max_message_size=32MiB",
        "limits.max_frame_size=32MiB",
        "limits.max_answer_size=32MiB",
        "pools.default.queue=20000",
        "pools.default.queue_deadline=60s",
        "route.text_content_type=text/plain",
        *more,
    ]
    if kept:
        settings.append("pools.default.keep_connections=true")
        settings.append(f"pools.default.max_in_flight={KEPT_CONNECTIONS}")

    def start(bench: Bench, processes: Processes) -> None:
        twistd = Path(bench.wsgate_python).with_name("twistd")
        if metered:
            twistd = PEERS / "wsgate_turns.py"
        command = [bench.wsgate_python, str(twistd), "-n", "--pidfile=", "wsgate"]
        command += ["--script", str(getattr(bench, script)), "--fastcgi", f"unix:{bench.php}"]
        command += ["--port", f"tcp:{bench.port}:interface=127.0.0.1:backlog=4096"]
        command += ["--port", f"tls:{bench.tls_port}:interface=127.0.0.1:backlog=4096"]
        command += ["--certificate", str(bench.certificate)]
        command += ["--private-key", str(bench.private_key)]
        for setting in settings:
            command += ["--set", setting]
        processes.start(command, cwd=bench.folder, env={"WSGATE_TURNS": str(bench.turns)})

    return start


def _start_wsgate_echo(bench: Bench, processes: Processes) -> None:
    program = str(PEERS / "wsgate_echo.py")
    processes.start([bench.wsgate_python, program, str(bench.port)], cwd=bench.folder)


def _start_nginx_lua(bench: Bench, processes: Processes, echo: bool = False) -> None:
    configuration = bench.fill("nginx_lua.conf", "nginx-lua.conf", echo=str(echo).lower())
    processes.start(_nginx(bench, configuration), cwd=bench.folder)


def _start_node(mode: str) -> Start:
    def start(bench: Bench, processes: Processes) -> None:
        processes.start(
            ["node", str(PEERS / "node_gateway.js"), mode, *_arguments(bench)],
            cwd=bench.folder,
            env={
                "NODE_PATH": str(bench.tools / "node" / "node_modules"),
                "WSGATE_TURNS": str(bench.turns),
            },
        )

    return start


def _start_autobahn(bench: Bench, processes: Processes, mode: str = "kept") -> None:
    program = str(PEERS / "autobahn_gateway.py")
    processes.start([bench.wsgate_python, program, mode, *_arguments(bench)], cwd=bench.folder)


def _start_pushpin(bench: Bench, processes: Processes) -> None:
    certificates = bench.folder / "runner" / "certs"
    certificates.mkdir(parents=True, exist_ok=True)
    shutil.copy(bench.certificate, certificates / f"default_{bench.tls_port}.crt")
    shutil.copy(bench.private_key, certificates / f"default_{bench.tls_port}.key")
    (bench.folder / "pushpin").mkdir(exist_ok=True)
    (bench.folder / "routes").write_text(f"* 127.0.0.1:{bench.http_port},over_http\n")
    nginx = bench.fill("nginx_pushpin.conf", "nginx-pushpin.conf")
    processes.start(_nginx(bench, nginx), cwd=bench.folder)
    zurl = bench.fill("zurl.conf", "zurl.conf")
    processes.start(["zurl", f"--config={zurl}", "--loglevel=1"], cwd=bench.folder)
    pushpin = bench.fill("pushpin.conf", "pushpin.conf")
    processes.start(["pushpin", f"--config={pushpin}", "--loglevel=1"], cwd=bench.folder)


GATEWAYS = (
    Gateway(
        *("wsgate-kept", "wsgate, kept connections", _start_wsgate(kept=True)),
        others={
            "echo": _start_wsgate_echo,
            "turns": _start_wsgate(kept=True, metered=True),
            "fanout": _start_wsgate(kept=True, metered=True, script="fanout_script"),
            "same": _start_wsgate(kept=True, script="cached_script"),
            "cached": _start_wsgate(kept=True, script="cached_script", more=["route.hooks=cache"]),
        },
    ),
    Gateway(
        *("node-kept", "Node `ws`, kept connections", _start_node("kept")),
        others={"echo": _start_node("echo"), "fanout": _start_node("fanout")},
    ),
    Gateway(
        *("nginx-lua", "nginx + Lua", _start_nginx_lua),
        others={"echo": partial(_start_nginx_lua, echo=True)},
    ),
    Gateway(
        *("wsgate-once", "wsgate, one connection per request", _start_wsgate(kept=False)),
        once=True,
    ),
    Gateway(
        *("node-once", "Node `ws`, one connection per request", _start_node("once")),
        once=True,
    ),
    Gateway(
        *("autobahn", "plain Autobahn + Twisted, kept", _start_autobahn),
        others={"echo": partial(_start_autobahn, mode="echo")},
    ),
    Gateway("pushpin", "Pushpin + nginx", _start_pushpin),
    Gateway("php-fpm", "PHP-FPM alone (the limit)", None),
)


def _arguments(bench: Bench) -> list[str]:
    return [
        *(str(bench.php), str(bench.script), str(bench.port), str(bench.tls_port)),
        *(str(bench.certificate), str(bench.private_key)),
    ]


def _nginx(bench: Bench, configuration: Path) -> list[str]:
    return ["nginx", "-p", str(bench.folder), "-c", str(configuration)]


def _php_fpm() -> str:
    for name in ("php-fpm", *(f"php-fpm8.{n}" for n in range(9, -1, -1))):
        if found := shutil.which(name):
            return found
    sys.exit("bench: php-fpm was not found; on Debian: apt-get install php-fpm")


def _free_ports(number: int) -> list[int]:
    # Below the ports that the kernel gives to clients, which would take them away.
    free: list[int] = []
    # Another run beside this one looks as free as ours while it starts its next gateway.
    for port in range(random.randrange(18000, 31000), 32000):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        free.append(port)
        if len(free) == number:
            break
    return free


def _make_certificate(certificate: Path, private_key: Path) -> None:
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30"
    arguments = ["-subj", "/CN=127.0.0.1", "-out", str(certificate), "-keyout", str(private_key)]
    subprocess.run([*command.split(), *arguments], check=True, capture_output=True)
    private_key.chmod(0o644)
