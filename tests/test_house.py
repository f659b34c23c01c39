"""The house: imports point one way, and the sans-IO parts know no Twisted."""

import ast
from pathlib import Path

import pytest

import wsgate

SOURCE = Path(wsgate.__file__).parent

ALLOWED = {
    "node": set(),
    "filelock": set(),
    "secretfile": set(),
    "oneline": set(),
    "networks": set(),
    "compiled": set(),
    "backoff": set(),
    "timeouts": set(),
    "eager": set(),
    "accepting": set(),
    "garbage": set(),
    "interpreter": set(),
    "logfile": set(),
    "logpipe": set(),
    "monotonic": set(),
    "dispatch": set(),
    "http1": set(),
    "utf8": set(),
    "cgi": {"http1"},
    "fastcgi": {"compiled", "backoff", "floods", "timeouts", "utf8"},
    "channels": {"floods"},
    "gateway": {
        *(
            "compiled",
            "cgi",
            "channels",
            "fastcgi",
            "floods",
            "http1",
            "hooks",
            "journal",
            "oneline",
            "stores",
        ),
        "timeouts",
    },
    "hooks": {
        *("backoff", "channels", "config", "floods", "networks", "oneline", "secretfile", "secure"),
        "stores",
        "threads",
        "timeouts",
    },
    "journal": {"filelock"},
    "grip": {
        *("cgi", "channels", "config", "control", "fastcgi", "floods", "gateway", "http1"),
        *("oneline", "secretfile", "timeouts"),
    },
    "pusher": {
        *("cgi", "channels", "control", "fastcgi", "floods", "gateway", "http1", "node"),
        *("oneline", "secretfile", "timeouts"),
    },
    "proxies": {"cgi", "floods"},
    "websocket": {
        *("compiled", "cgi", "channels", "floods", "gateway", "http1", "networks", "node"),
        *("oneline", "proxies", "timeouts", "utf8"),
    },
    "php": {"backoff", "filelock", "floods", "interpreter", "oneline"},
    "tls": {"proxies"},
    "demo": set(),
    "secure": set(),
    "reconnecting": {"backoff"},
    "silence": set(),
    "redis": {"reconnecting", "secure", "silence"},
    "stores": {
        *("backoff", "config", "figures", "oneline", "reconnecting", "redis", "secretfile"),
        *("silence", "timeouts"),
    },
    "bus": {"channels", "config", "figures", "floods", "node", "redis"},
    "config": {"redis"},
    "control": {
        *("accepting", "cgi", "channels", "config", "figures", "floods", "gateway", "hooks"),
        "http1",
        *("ports", "secretfile", "tls"),
    },
    "figures": set(),
    "floods": set(),
    "vitals": {"compiled", "figures", "floods"},
    "measures": {"bus", "channels", "fastcgi", "figures", "gateway", "php", "pusher", "websocket"},
    "options": {"compiled", "config"},
    "ports": {"compiled"},
    "signals": set(),
    "threads": set(),
    "systemd": set(),
    "pools": {"config", "fastcgi", "php", "secure"},
    "making": {
        *(
            "grip",
            "journal",
            "node",
            "timeouts",
            "cgi",
            "bus",
            "channels",
            "config",
            "demo",
            "fastcgi",
            "gateway",
            "php",
            "ports",
            "proxies",
            "secretfile",
            "tls",
        ),
        "websocket",
    },
    "dialects": {"bus", "config", "gateway", "ports", "pusher", "secretfile", "websocket"},
    "reload": {"config", "php", "ports", "secretfile", "tls"},
    "turnover": {"config", "fastcgi", "figures", "measures", "php", "pools", "reload"},
    "workers": {
        *("backoff", "config", "eager", "figures", "gateway", "oneline", "php", "ports", "signals"),
        *(
            "bus",
            "channels",
            "interpreter",
            "logfile",
            "logpipe",
            "proxies",
            "tls",
            "reload",
            "systemd",
            "threads",
            "vitals",
        ),
        "websocket",
    },
    "running": {
        *("accepting", "channels", "config", "dialects", "dispatch", "eager", "fastcgi", "figures"),
        *("floods", "garbage", "gateway", "journal", "logfile", "logpipe", "making", "measures"),
        *("php", "ports", "reload", "signals", "systemd", "tls", "turnover", "vitals"),
        *("hooking", "websocket", "workers"),
        *("redis", "secretfile", "stores", "threads"),
    },
    "hooking": {"channels", "config", "gateway", "hooks", "ports", "timeouts"},
    "service": {
        "hooking",
        *("bus", "channels", "config", "control", "dialects", "grip", "making", "monotonic"),
        *("options", "php", "ports", "proxies", "redis", "running", "secretfile", "stores", "tls"),
        *("turnover", "vitals", "workers"),
    },
    "worker": {"service", "workers"},
    "__main__": set(),
}

SANS_IO = [
    "cgi.py",
    "gateway/admission.py",
    "journal/entry.py",
    "http1.py",
    "networks.py",
    "node.py",
    "oneline.py",
    "utf8.py",
    "figures.py",
    "control/answers.py",
    "control/urls.py",
    "control/health.py",
    "control/openapi.py",
    "bus/envelope.py",
    "bus/buckets.py",
    "bus/exchange.py",
    "bus/wire.py",
    "bus/following.py",
    "bus/lua.py",
    "config/addresses.py",
    "stores/memcached_wire.py",
    "stores/errors.py",
    "stores/link.py",
    "stores/statement.py",
    "redis/url.py",
    "redis/scripts.py",
    "redis/errors.py",
    "fastcgi/records.py",
    "fastcgi/params.py",
    "fastcgi/connection.py",
    "fastcgi/errors.py",
    "fastcgi/limits.py",
    "fastcgi/places.py",
    "proxies/trusted.py",
    "proxies/forwarded.py",
    "proxies/header.py",
    "fastcgi/breaker.py",
    "grip/events.py",
    "grip/control.py",
    "grip/publish.py",
    "grip/request.py",
    *(f"pusher/{name}.py" for name in ("names", "app", "signatures", "socketid", "told", "asked")),
    *(f"pusher/{name}.py" for name in ("faults", "roster", "cache", "calls", "subscribing")),
    "gateway/actions.py",
    "hooks/params.py",
    "gateway/words.py",
    "gateway/waiting.py",
    "hooks/connection.py",
    "hooks/sqlvalues.py",
    "hooks/hook.py",
    "hooks/message.py",
    *(
        f"hooks/cache/{name}.py"
        for name in ("terms", "keys", "memory", "asker", "known", "values", "purging")
    ),
    *(f"hooks/session/{name}.py" for name in ("unserialize", "formats", "names", "fields")),
    *(f"hooks/tokens/{name}.py" for name in ("keys", "verify", "claims", "urls", "sources")),
    *(f"hooks/rate/{name}.py" for name in ("bucket", "leases")),
    "channels/names.py",
    "channels/tokens.py",
    "channels/message.py",
    "channels/member.py",
    "channels/channel.py",
    "channels/limits.py",
    "channels/published.py",
    "channels/errors.py",
    "websocket/frames.py",
    "websocket/handshake.py",
    "websocket/census.py",
    "websocket/counts.py",
]

MODULES = sorted(SOURCE.rglob("*.py"))


def imports_of(path: Path) -> set[str]:
    """The dotted names that a module imports, relative ones made absolute."""
    package = ["wsgate", *path.relative_to(SOURCE).parts[:-1]]
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            found.add(module)
            if module == "wsgate":
                found |= {f"wsgate.{alias.name}" for alias in node.names}
    return found


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_imports_point_one_way(path):
    room = path.relative_to(SOURCE).parts[0].removesuffix(".py")
    if room == "__init__":
        return
    rooms = {
        name.split(".")[1]
        for name in imports_of(path)
        if name.startswith("wsgate.") and name != "wsgate.__version__"
    }
    assert rooms - {room} <= ALLOWED[room]


@pytest.mark.parametrize("name", SANS_IO)
def test_the_sans_io_parts_import_nothing_of_twisted_or_autobahn(name):
    outside = {module.split(".")[0] for module in imports_of(SOURCE / name)}
    assert not outside & {"twisted", "autobahn", "zope", "asyncio", "socket"}


def test_only_the_websocket_room_knows_autobahn():
    for path in MODULES:
        if path.parent.name != "websocket":
            assert not any(name.startswith("autobahn") for name in imports_of(path)), path


def test_only_the_service_knows_the_real_reactor():
    for path in MODULES:
        if path.name != "service.py":
            assert "twisted.internet.reactor" not in imports_of(path)
            assert "import reactor" not in path.read_text(), path
