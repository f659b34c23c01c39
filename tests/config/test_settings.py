"""wsgate.config.settings and .build: defaults, bounds, and every error line."""

import os
from dataclasses import asdict, fields

import hypothesis
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsgate.config import ConfigError, Gateway, Limits, Pool, Route, Settings, Source, build
from wsgate.config.about import default_of, described
from wsgate.config.units import GIB, KIB, MIB

FPM = "unix:/run/php/php8.2-fpm.sock"


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "ws.php").write_text("<?php")
    (tmp_path / "chat.php").write_text("<?php")
    for name in ("chain.pem", "key.pem"):
        (tmp_path / name).write_text("-----BEGIN")
    (tmp_path / "live").mkdir()
    return tmp_path


def settings_of(folder, **tree):
    tree.setdefault("route", [{"script": "ws.php"}])
    return build([Source(tree, str(folder))])


def error_of(folder, **tree):
    with pytest.raises(ConfigError) as caught:
        settings_of(folder, **tree)
    line = str(caught.value)
    assert "\n" not in line
    return line.replace(str(folder), "FOLDER")


def test_the_defaults_are_these(folder):
    script = str(folder / "ws.php")
    assert asdict(settings_of(folder)) == {
        "gateway": {
            "port": ("tcp:8080:interface=127.0.0.1",),
            "certificate": None,
            "private_key": None,
            "certificates": None,
            "self_signed": False,
            "client_ca": None,
            "client_certificate": "require",
            "certificate_check_interval": 5.0,
            "trusted_proxies": (),
            "workers": 1,
            "drain_timeout": 20.0,
            "close_spread": 5.0,
            "stop_timeout": 60.0,
            "control": None,
            "control_token_file": None,
            "bus": None,
            "bus_prefix": "wsgate",
            "bus_lease": 10.0,
            "control_max_body": MIB,
            "control_max_connections": 256,
            "control_time_per_turn": 0.002,
            "state": None,
            "disconnect_age": 86400.0,
            "disconnect_backlog": 100_000,
            "demo": False,
        },
        "limits": {
            "max_message_size": 1048576,
            "max_frame_size": 1048576,
            "max_fragments": 1024,
            "fragment_size": 65536,
            "max_answer_size": 16777216,
            "stream_timeout": 300.0,
            "stream_messages": 10000,
            "stream_bytes": 67108864,
            "max_header_bytes": 16384,
            "max_header_lines": 64,
            "max_connections": 10000,
            "max_connections_per_address": 200,
            "new_connections_per_address": 20,
            "max_handshakes": 1024,
            "messages_per_second": 0,
            "pusher_messages_per_second": 50,
            "control_frames_per_second": 20,
            "queue_per_connection": 16,
            "queue_bytes_per_connection": 1048576,
            "handshake_timeout": 10.0,
            "ping_interval": 25.0,
            "pong_timeout": 20.0,
            "close_timeout": 5.0,
            "send_high_water": 262144,
            "send_timeout": 30.0,
            "push_buffer": MIB,
            "channels_per_connection": 32,
            "max_channels": 100_000,
            "channel_history": 0,
            "channel_history_age": 300.0,
            "channel_history_bytes": 64 * MIB,
            "variables_per_connection": 32,
            "variable_bytes_per_connection": 4 * KIB,
            "publish_backlog": 64 * MIB,
            "bus_buffer": 16 * MIB,
            "hook_timeout": 2.0,
            "hook_param_bytes": 8 * KIB,
            "idle_timeout": 0.0,
            "max_connection_age": 0.0,
            "compression": False,
        },
        "pools": {
            "default": {
                "name": "default",
                "fastcgi": (),
                "max_in_flight": 8,
                "max_streams": None,
                "queue": 256,
                "queue_deadline": 5.0,
                "response_timeout": 30.0,
                "connect_timeout": 1.0,
                "write_timeout": 5.0,
                "breaker_connects": 10,
                "breaker_percent": 50,
                "keep_connections": None,
                "php": None,
                "user": None,
                "ini": {},
            }
        },
        "stores": {},
        "routes": (
            {
                "path": "/",
                "script": script,
                "document_root": None,
                "pool": "default",
                "events": ("message",),
                "origins": (),
                "subprotocols": (),
                "dialect": "plain",
                "hooks": (),
                "on_hook_failure": "refuse",
                "grip_key_file": None,
                "grip_iss": "pushpin",
                "grip_prefix": "",
                "app_id": None,
                "app_key": None,
                "app_secret_file": None,
                "client_events": False,
                "webhooks": ("channels", "members", "cache_misses"),
                "webhook_uri": None,
                "activity_timeout": 30.0,
                "subscription_counts": False,
                "max_presence_members": 100,
                "max_presence_member_size": 10 * KIB,
                "max_event_size": 100 * KIB,
                "on_error": "reply",
                "text_content_type": None,
                "binary_content_type": None,
            },
        ),
        "hooks": {},
        "hook_folders": (),
    }


def test_the_contract_s_example_is_read(folder):
    settings = settings_of(
        folder,
        gateway={"port": ["tls:443"], "certificates": "live"},
        limits={"max_message_size": "1MiB", "max_connections": 10000, "compression": False},
        pools={
            "app": {
                "fastcgi": [FPM],
                "max_in_flight": 8,
                "queue": 256,
                "queue_deadline": "5s",
                "response_timeout": "30s",
            }
        },
        route=[
            {
                "path": "/chat",
                "script": "/srv/app/chat.php",
                "pool": "app",
                "origins": ["https://example.com"],
                "subprotocols": ["chat.v1"],
                "on_error": "reply",
            }
        ],
    )
    assert settings == Settings(
        gateway=Gateway(port=("tls:443",), certificates=str(folder / "live")),
        pools={"app": Pool(name="app", fastcgi=(FPM,))},
        routes=(
            Route(
                path="/chat",
                script="/srv/app/chat.php",
                pool="app",
                origins=("https://example.com",),
                subprotocols=("chat.v1",),
            ),
        ),
    )


# --- bounds ------------------------------------------------------------------------------------

BOUNDS = [
    (section, name, about.kind)
    for section in (Limits, Pool)
    for name, about in described(section).items()
    if hasattr(about.kind, "low")
]


def tree_with(section, name, value):
    if section is Limits:
        return {"limits": {name: value}}
    # They are never all of max_in_flight.
    more = {"max_in_flight": 10_000} if name == "max_streams" else {}
    return {"pools": {"default": {name: value, **more}}}


def value_in(settings, section, name):
    return getattr(settings.limits if section is Limits else settings.pools["default"], name)


@pytest.mark.parametrize(("section", "name", "kind"), BOUNDS)
def test_each_number_is_taken_at_its_bounds_and_refused_past_them(folder, section, name, kind):
    for good in (kind.low, kind.high):
        settings = settings_of(folder, **tree_with(section, name, good))
        assert value_in(settings, section, name) == good
    for bad in (kind.low * 0.99 if isinstance(kind.low, float) else kind.low - 1, kind.high + 1):
        if bad or not kind.zero:
            line = error_of(folder, **tree_with(section, name, bad))
            assert line.endswith(f": out of range; {kind.bounds}")


OFF_AT_0 = {
    "channel_history",
    "ping_interval",
    "max_connections_per_address",
    "new_connections_per_address",
    "max_handshakes",
    "messages_per_second",
    "pusher_messages_per_second",
    "control_frames_per_second",
    "idle_timeout",
    "max_connection_age",
    "max_streams",
}


@pytest.mark.parametrize(("section", "name", "kind"), BOUNDS)
def test_0_means_none_only_where_nothing_is_lost_without_it(folder, section, name, kind):
    tree = tree_with(section, name, 0)
    if name in OFF_AT_0 or name.startswith("breaker_"):
        assert value_in(settings_of(folder, **tree), section, name) == 0
    else:
        assert error_of(folder, **tree).endswith(f"{name} = 0: out of range; {kind.bounds}")


def test_streams_take_a_quarter_of_a_pool_by_default_and_never_all_of_it(folder):
    assert [Pool(name="a", max_in_flight=n).streams for n in (1, 3, 8, 100)] == [1, 1, 2, 25]
    pool = {"max_in_flight": 8, "max_streams": 7}
    assert settings_of(folder, pools={"default": pool}).pools["default"].streams == 7
    line = error_of(folder, pools={"default": {**pool, "max_streams": 8}})
    assert line.endswith(
        "max_streams = 8: must be less than max_in_flight, which is 8: messages need a PHP worker "
        "as well"
    )
    alone = {"max_in_flight": 1, "max_streams": 1}
    assert settings_of(folder, pools={"default": alone}).pools["default"].streams == 1


def test_every_default_lies_within_its_own_bounds():
    for section, name, kind in BOUNDS:
        default = default_of(section, name)
        if default is None:
            continue
        assert kind.low <= default <= kind.high or (default == 0 and kind.zero)


@pytest.mark.parametrize("section", [Gateway, Limits, Pool, Route])
def test_every_setting_says_what_it_is_and_why(section):
    assert set(described(section)) == {f.name for f in fields(section)} - (
        {"name"} if section is Pool else set()
    )
    for about in described(section).values():
        assert about.what
        assert about.why
        assert "\n" not in about.what + about.limit + about.why


# --- error lines ---------------------------------------------------------------------------------

LINES = [
    # Names.
    (
        {"limits": {"max_mesage_size": 1}},
        "limits.max_mesage_size: unknown setting; did you mean limits.max_message_size?",
    ),
    ({"limit": {}}, "limit: unknown section; did you mean limits?"),
    ({"routes": []}, "routes: unknown section; did you mean route?"),
    ({"pool": {}}, "pool: unknown section; did you mean pools?"),
    ({"zzz": 1}, "zzz: unknown section; known: gateway, hooks, limits, pools, route, stores"),
    (
        {"gateway": {"bsu": 2}},
        "gateway.bsu: unknown setting; did you mean gateway.bus?",
    ),
    (
        {"gateway": {"workers": 0}},
        'gateway.workers = 0: out of range; 1 to 256, or "auto"',
    ),
    (
        {"gateway": {"workers": 257}, "pools": {"default": {"max_in_flight": 1000}}},
        'gateway.workers = 257: out of range; 1 to 256, or "auto"',
    ),
    (
        {"gateway": {"workers": "all"}},
        'gateway.workers = "all": not a whole number; write 1 to 256, or "auto"',
    ),
    (
        {"gateway": {"workers": 9}},
        "gateway.workers = 9: more than pools.default.max_in_flight = 8 (the default), of which "
        "each worker needs one at least; raise that to 9, or lower workers to 8",
    ),
    (
        {
            "gateway": {"workers": 4},
            "pools": {"a": {"max_in_flight": 3, "fastcgi": FPM}, "b": {"max_in_flight": 4}},
            "route": [
                {"script": "ws.php", "pool": "a"},
                {"path": "/b", "script": "ws.php", "pool": "b"},
            ],
        },
        "gateway.workers = 4: more than pools.a.max_in_flight = 3, of which "
        "each worker needs one at least; raise that to 4, or lower workers to 3",
    ),
    (
        {"gateway": {"workers": 3}, "limits": {"max_connections": 2}},
        "gateway.workers = 3: more than limits.max_connections = 2, of which "
        "each worker needs one at least; raise that to 3, or lower workers to 2",
    ),
    (
        {"pools": {"app": {"max_inflight": 2}}},
        "pools.app.max_inflight: unknown setting; did you mean pools.app.max_in_flight?",
    ),
    (
        {"route": [{"path": "/chat", "script": "ws.php", "orgins": []}]},
        "route[/chat].orgins: unknown setting; did you mean route.origins?",
    ),
    (
        {"limits": {"a\x1b[31m\n": 1}},
        "limits.a\\x1b[31m\\n: unknown setting; known: " + ", ".join(sorted(described(Limits))),
    ),
    # Shapes.
    ({"limits": 5}, "limits = 5: not a section; write [limits] and its settings below"),
    ({"pools": []}, "pools = []: not a section; write [pools.NAME] and its settings below"),
    (
        {"pools": {"app": "x"}},
        'pools.app = "x": not a section; write [pools.app] and its settings below',
    ),
    ({"pools": {"my app": {}}}, "pools.my app: not a pool name; at most 64 of A-Z a-z 0-9 _ -"),
    ({"route": {"path": "/"}}, "route: not a list of routes; write [[route]] above each"),
    ({"route": ["/chat"]}, 'route[1] = "/chat": not a section; write [[route]] above each'),
    # Types, units, ranges.
    (
        {"limits": {"max_message_size": "1MB"}},
        'limits.max_message_size = "1MB": not a size; write bytes or KiB/MiB/GiB, like 1MiB',
    ),
    (
        {"limits": {"max_message_size": [[1]]}},
        "limits.max_message_size = [[…]]: not a size; write bytes or KiB/MiB/GiB, like 1MiB",
    ),
    (
        {"limits": {"fragment_size": 124}},
        "limits.fragment_size = 124: out of range; 125 bytes to 16MiB",
    ),
    (
        {"limits": {"max_message_size": 10**5000}},
        "limits.max_message_size = an enormous number: out of range; 1 byte to 1GiB",
    ),
    (
        {"limits": {"close_timeout": "5 sec"}},
        'limits.close_timeout = "5 sec": not a time; write seconds or ms/s/min/h, like 5s',
    ),
    (
        {"limits": {"close_timeout": float("nan")}},
        "limits.close_timeout = nan: out of range; 100ms to 10min",
    ),
    (
        {"limits": {"ping_interval": -1}},
        "limits.ping_interval = -1: out of range; 100ms to 24h, or 0 for none",
    ),
    ({"limits": {"max_connections": "5"}}, 'limits.max_connections = "5": not a whole number'),
    ({"limits": {"max_connections": True}}, "limits.max_connections = true: not a whole number"),
    (
        {"limits": {"compression": "no"}},
        'limits.compression = "no": write true or false, without quotes',
    ),
    # The gateway.
    ({"gateway": {"port": []}}, "gateway.port = []: empty; one at least is needed"),
    ({"gateway": {"port": 8080}}, 'gateway.port = 8080: not a list of texts; write ["…", "…"]'),
    (
        {"gateway": {"port": "8080"}},
        'gateway.port = "8080": not an endpoint; did you mean tcp:8080?',
    ),
    (
        {"gateway": {"port": "0.0.0.0:80"}},
        'gateway.port = "0.0.0.0:80": not an endpoint; did you mean tcp:80:interface=0.0.0.0?',
    ),
    (
        {"gateway": {"port": ["/run/ws.sock"]}},
        'gateway.port = "/run/ws.sock": not an endpoint; '
        "write one like tcp:8080, tls:443 or unix:/run/ws.sock",
    ),
    (
        {"gateway": {"port": ["tcp:1", "tcp:1"]}},
        'gateway.port = "tcp:1": given twice',
    ),
    (
        {"gateway": {"port": "tls:443"}},
        'gateway.port = "tls:443": needs a certificate; give --certificate FILE and '
        "--private-key FILE, --certificates DIR, or --self-signed",
    ),
    (
        {"gateway": {"port": ["tcp:80", "haproxy:tls:443:backlog=9"]}},
        'gateway.port = ["tcp:80", "haproxy:tls:443:backlog=9"]: haproxy:tls:443:backlog=9 needs a '
        "certificate; give --certificate FILE and --private-key FILE, --certificates DIR, or "
        "--self-signed",
    ),
    (
        {"pools": {"default": {"fastcgi": "ssl:php.example:9000"}}},
        'pools.default.fastcgi = "ssl:php.example:9000": does not say whose certificate is right; '
        "write tls:HOST:PORT",
    ),
    (
        {"pools": {"default": {"fastcgi": "tls:php.example:9000:trustRoots=/nonexistent"}}},
        'pools.default.fastcgi = "tls:php.example:9000:trustRoots=/nonexistent": /nonexistent: '
        "No such file or directory",
    ),
    (
        {"gateway": {"trusted_proxies": ["10.0.0.5", "10.1.0.0/8"]}},
        'gateway.trusted_proxies = "10.1.0.0/8": not an address or network; '
        "did you mean 10.0.0.0/8?",
    ),
    (
        {"gateway": {"trusted_proxies": "proxy.example"}},
        'gateway.trusted_proxies = "proxy.example": not an address or network; write an address '
        "or a network, like 10.0.0.5 or 10.0.0.0/8, or unix",
    ),
    (
        {"gateway": {"trusted_proxies": ["10.0.0.5", "10.0.0.5/32"]}},
        'gateway.trusted_proxies = "10.0.0.5/32": given twice',
    ),
    (
        {"gateway": {"port": "tls:443", "certificate": "chain.pem"}},
        'gateway.certificate = "chain.pem": needs --private-key FILE too '
        "(the same file, if the key is in it)",
    ),
    (
        {"gateway": {"port": "tls:443", "private_key": "key.pem"}},
        'gateway.private_key = "key.pem": needs --certificate FILE too',
    ),
    (
        {"gateway": {"port": "tls:443", "certificate": "none.pem", "private_key": "key.pem"}},
        'gateway.certificate = "none.pem": no such file ("FOLDER/none.pem")',
    ),
    (
        {"gateway": {"port": "tls:443", "certificate": "live", "private_key": "key.pem"}},
        'gateway.certificate = "live": a folder; give a file ("FOLDER/live")',
    ),
    (
        {"gateway": {"port": "tls:443", "certificates": "dead"}},
        'gateway.certificates = "dead": no such folder ("FOLDER/dead")',
    ),
    (
        {"gateway": {"port": "tls:443", "certificates": "live", "self_signed": True}},
        'gateway.certificates = "live": leave it out, or leave out --self-signed',
    ),
    (
        {"gateway": {"self_signed": True}},
        "gateway.self_signed = true: no port uses it; give --port tls:443 too",
    ),
    (
        {"gateway": {"certificates": "live", "port": "ssl:443"}},
        'gateway.certificates = "live": no port uses it; give --port tls:443 too',
    ),
    (
        {"gateway": {"drain_timeout": "1min"}},
        'gateway.drain_timeout = "1min": a stop ends after gateway.stop_timeout = 60 s '
        "(the default), answered or not; raise that above it too",
    ),
    # Pools.
    (
        {"pools": {"default": {"fastcgi": "/run/php.sock"}}},
        'pools.default.fastcgi = "/run/php.sock": not an endpoint; '
        "did you mean unix:/run/php.sock?",
    ),
    (
        {"pools": {"default": {"fastcgi": "php:9000"}}},
        'pools.default.fastcgi = "php:9000": not an endpoint; did you mean tcp:php:9000?',
    ),
    (
        {"pools": {"default": {"fastcgi": [FPM], "php": "php-fpm8.2"}}},
        'pools.default.php = "php-fpm8.2": only for a private PHP pool, and '
        f'pools.default.fastcgi = ["{FPM}"] makes this one a foreign one; leave one out',
    ),
    (
        {"pools": {"default": {"php": "./php"}}},
        'pools.default.php = "./php": no such file ("FOLDER/php")',
    ),
    (
        {"pools": {"default": {"php": "./ws.php"}}},
        'pools.default.php = "./ws.php": not a program this user may run',
    ),
    (
        {"pools": {"default": {"user": "no-such-user"}}},
        'pools.default.user = "no-such-user": no such user on this machine',
    ),
    (
        {"pools": {"default": {"ini": "memory_limit=1G"}}},
        'pools.default.ini = "memory_limit=1G": not a table; '
        'write memory_limit = "256M" below [pools.NAME.ini]',
    ),
    (
        {"pools": {"default": {"ini": {"a]b": 1}}}},
        'pools.default.ini = "a]b": not the name of a php.ini directive',
    ),
    (
        {"pools": {"default": {"ini": {"a": "1\nextension=evil"}}}},
        'pools.default.ini = "1\\nextension=evil": has a control character in it (a)',
    ),
    (
        {"pools": {"default": {"ini": {"a": [1]}}}},
        "pools.default.ini = [1]: not a text; write it in quotes (a)",
    ),
    # Routes.
    (
        {"route": [{"script": "caf\ud800.php"}]},
        'route[/].script = "caf\\ud800.php": not a file name',
    ),
    (
        {"route": []},
        "no route; give --script FILE (the PHP script that gets the messages) or --demo",
    ),
    ({"route": [{}]}, "route[/]: the route has no script; give --script FILE"),
    (
        {"route": [{"path": "/a", "pool": "default"}]},
        'route[/a].path = "/a": the route has no script; give --script FILE',
    ),
    (
        {"route": [{"script": "nope.php"}]},
        'route[/].script = "nope.php": no such file ("FOLDER/nope.php")',
    ),
    (
        {"route": [{"script": "/x/ws.php"}]},
        'route[/].script = "/x/ws.php": no such file',
    ),
    (
        {"route": [{"script": "a\0b"}]},
        'route[/].script = "a\\x00b": has a control character in it',
    ),
    ({"route": [{"script": ""}]}, 'route[/].script = "": empty'),
    ({"route": [{"script": 5}]}, "route[/].script = 5: not a text; write it in quotes"),
    (
        {"route": [{"script": "ws.php"}, {"path": "/", "script": "chat.php"}]},
        "route[/]: two routes have this path",
    ),
    (
        {"route": [{"script": "ws.php"}, {"path": "chat", "script": "chat.php"}]},
        'route[2].path = "chat": not a URL path; begin with /, like /chat',
    ),
    (
        {"route": [{"script": "ws.php", "path": "/a?b"}]},
        'route[1].path = "/a?b": not a URL path; printable ASCII without ? and #, like /chat',
    ),
    (
        {"route": [{"script": "ws.php", "document_root": "live"}]},
        'route[/].document_root = "live": the script "FOLDER/ws.php" is not inside',
    ),
    (
        {"route": [{"script": "ws.php", "pool": "ap"}], "pools": {"app": {}}},
        'route[/].pool = "ap": no such pool; did you mean app?',
    ),
    (
        {"route": [{"script": "ws.php", "pool": "defalt"}]},
        'route[/].pool = "defalt": no such pool; did you mean default?',
    ),
    (
        {"pools": {"app": {}, "web": {}}},
        'route[/].script = "ws.php": the route names no pool, and there is no [pools.default]; '
        "known: app, web",
    ),
    (
        {"route": [{"script": "ws.php", "events": ["conect"]}]},
        'route[/].events = "conect": not an event; write connect, message or disconnect',
    ),
    (
        {"route": [{"script": "ws.php", "events": []}]},
        "route[/].events = []: empty; one at least is needed",
    ),
    (
        {"route": [{"script": "ws.php", "events": ["connect", "connect"]}]},
        'route[/].events = "connect": given twice',
    ),
    (
        {"route": [{"script": "ws.php", "origins": ["https://a.example/"]}]},
        'route[/].origins = "https://a.example/": not an origin; write scheme://host[:port] '
        "without a path, like https://example.com, or null or *",
    ),
    (
        {"route": [{"script": "ws.php", "origins": "https://a:65536"}]},
        'route[/].origins = "https://a:65536": the port of an origin is 1 to 65535',
    ),
    (
        {"route": [{"script": "ws.php", "origins": "http://[::g]"}]},
        'route[/].origins = "http://[::g]": not an origin; write scheme://host[:port] '
        "without a path, like https://example.com, or null or *",
    ),
    (
        {"route": [{"script": "ws.php", "origins": "http://[1::2::3]"}]},
        'route[/].origins = "http://[1::2::3]": not an IPv6 address; '
        "write it like http://[::1]:8080",
    ),
    (
        {"route": [{"script": "ws.php", "subprotocols": ["chat v1"]}]},
        'route[/].subprotocols = "chat v1": not a subprotocol; letters, digits and '
        "!#$%&'*+-.^_`|~, like chat.v1",
    ),
    (
        {"route": [{"script": "ws.php", "on_error": "ignore"}]},
        'route[/].on_error = "ignore": write "reply" or "close"',
    ),
    (
        {"route": [{"script": "ws.php", "grip_prefix": "a-"}]},
        'route[/].grip_prefix = "a-": only for dialect = "grip"; leave it out',
    ),
    (
        {"route": [{"script": "ws.php", "dialect": "grip", "events": ["message"]}]},
        'route[/].events = ["message"]: not for dialect = "grip", where PHP gets all events as '
        "events; leave it out",
    ),
    (
        {"route": [{"script": "ws.php", "dialect": "grip", "grip_iss": "me"}]},
        'route[/].grip_iss = "me": needs grip_key_file too',
    ),
    (
        {"route": [{"script": "ws.php", "dialect": "grip", "grip_prefix": "a/"}]},
        'route[/].grip_prefix = "a/": not the beginning of a channel\'s name; at most 64 of A-Z '
        "a-z 0-9 _ . : -",
    ),
    (
        {
            "route": [
                {"path": path, "script": "ws.php", "dialect": "grip", "grip_prefix": prefix}
                for path, prefix in [("/b", "ab"), ("/a", "a"), ("/c", "b"), ("/d", "b")]
            ]
        },
        'route[/b].grip_prefix = "ab": begins with another route\'s prefix, "a", which would '
        "reach these channels; end both with -",
    ),
    (
        {"route": [{"script": "ws.php", "dialect": "grip", "grip_key_file": "no.key"}]},
        'route[/].grip_key_file = "no.key": no such file ("FOLDER/no.key")',
    ),
    (
        {"route": [{"script": "ws.php", "text_content_type": "json"}]},
        'route[/].text_content_type = "json": not a media type; write one like application/json',
    ),
]


@pytest.mark.parametrize("stop", [{"drain_timeout": 59}, {"drain_timeout": 90, "stop_timeout": 2}])
def test_a_stop_may_be_shorter_than_its_drain_only_where_both_are_given(folder, stop):
    assert settings_of(folder, gateway=stop).gateway.drain_timeout == stop["drain_timeout"]


@pytest.mark.parametrize(("tree", "line"), LINES, ids=lambda v: v if isinstance(v, str) else "")
def test_a_wrong_setting_is_one_line_that_names_it_and_the_mend(folder, tree, line):
    assert error_of(folder, **tree) == line


@pytest.mark.parametrize(
    ("endpoint", "wrong"),
    [
        ("unix:php.sock", "not an absolute path; write an endpoint"),
        ("unix:", "not an absolute path; write an endpoint"),
        ("tcp:127.0.0.1:0", "not a host and a port of 1 to 65535; write one"),
        ("tcp:127.0.0.1:65536", "not a host and a port of 1 to 65535; write one"),
        ("tcp:port=9000:host=", "not a host and a port of 1 to 65535; write one"),
        ("tcp:127.0.0.1", "not an endpoint; write one"),
        ("tcp:127.0.0.1:fpm", "not an endpoint; write one"),
        ("tcp:::1:9000", "not an endpoint; write one"),
        ("udp:127.0.0.1:9000", "not an endpoint; write one"),
        ("nonsense", "not an endpoint; write one"),
    ],
)
def test_a_bad_fastcgi_endpoint_is_answered_with_right_ones(folder, endpoint, wrong):
    assert error_of(folder, pools={"default": {"fastcgi": endpoint}}) == (
        f'pools.default.fastcgi = "{endpoint}": {wrong} '
        "like unix:/run/php/php8.2-fpm.sock or tcp:127.0.0.1:9000"
    )


@pytest.mark.parametrize(
    "endpoint",
    [
        FPM,
        "unix:path=/run/php.sock:timeout=3",
        "tcp:127.0.0.1:9000",
        "tcp:php:65535",
        r"tcp:\:\:1:1",
        "tls:php.example:9000",
    ],
)
def test_any_client_endpoint_of_twisted_s_is_taken_as_it_is(folder, endpoint):
    settings = settings_of(folder, pools={"default": {"fastcgi": endpoint}})
    assert settings.pools["default"].fastcgi == (endpoint,)


# --- what settings become ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "normal"),
    [
        ("*", "*"),
        ("null", "null"),
        ("HTTPS://Example.COM", "https://example.com"),
        ("https://example.com:443", "https://example.com"),
        ("http://example.com:80", "http://example.com"),
        ("http://example.com:443", "http://example.com:443"),
        ("http://localhost:08080", "http://localhost:8080"),
        ("http://[0:0:0:0:0:0:0:1]:8080", "http://[::1]:8080"),
        ("chrome-extension://abcdef", "chrome-extension://abcdef"),
    ],
)
def test_an_origin_is_kept_as_browsers_write_it(folder, written, normal):
    settings = settings_of(folder, route=[{"script": "ws.php", "origins": written}])
    assert settings.routes[0].origins == (normal,)


def test_php_ini_values_become_php_s_own_texts(folder):
    ini = {
        "memory_limit": "256M",
        "max_execution_time": 30,
        "opcache": {"enable": True, "validate_timestamps": False},
        "precision": 1.5,
        "auto_prepend_file": "",
    }
    settings = settings_of(folder, pools={"default": {"ini": ini}})
    assert settings.pools["default"].ini == {
        "memory_limit": "256M",
        "max_execution_time": "30",
        "opcache.enable": "1",
        "opcache.validate_timestamps": "0",
        "precision": "1.5",
        "auto_prepend_file": "",
    }


def test_one_text_alone_may_stand_for_a_list(folder):
    assert settings_of(folder, gateway={"port": "tcp:1"}).gateway.port == ("tcp:1",)


def test_max_frame_size_follows_max_message_size_unless_it_is_given(folder):
    limits = settings_of(folder, limits={"max_message_size": "32MiB"}).limits
    assert (limits.max_message_size, limits.max_frame_size) == (32 * MIB, 32 * MIB)
    both = {"max_message_size": "32MiB", "max_frame_size": "64KiB"}
    assert settings_of(folder, limits=both).limits.max_frame_size == 64 * KIB


def test_a_script_of_a_foreign_pool_need_not_exist_here(folder):
    settings = settings_of(
        folder,
        pools={"default": {"fastcgi": FPM}},
        route=[{"script": "/chroot/ws.php"}, {"path": "/b", "script": "sub/../b.php"}],
    )
    assert [route.script for route in settings.routes] == ["/chroot/ws.php", str(folder / "b.php")]


def test_the_document_root_is_the_script_s_folder_unless_given(folder):
    assert settings_of(folder).routes[0].root == str(folder)
    parent = str(folder.parent)
    settings = settings_of(folder, route=[{"script": "ws.php", "document_root": ".."}])
    assert settings.routes[0].root == parent
    settings = settings_of(folder, route=[{"script": "//" + str(folder) + "/ws.php"}])
    assert settings.routes[0].script == str(folder / "ws.php")


def test_connections_are_kept_to_a_private_pool_only_unless_told_otherwise():
    assert Pool(name="a").keeps_connections
    assert not Pool(name="a", fastcgi=(FPM,)).keeps_connections
    assert Pool(name="a", fastcgi=(FPM,), keep_connections=True).keeps_connections
    assert not Pool(name="a", keep_connections=False).keeps_connections


def test_the_demo_needs_no_route_and_gets_the_pool_default(folder):
    settings = settings_of(folder, gateway={"demo": True}, route=[])
    assert settings.routes == ()
    assert list(settings.pools) == ["default"]
    settings = settings_of(folder, gateway={"demo": True}, route=[], pools={"app": {}})
    assert list(settings.pools) == ["app", "default"]


def test_the_pool_default_is_not_made_where_no_route_uses_it(folder):
    settings = settings_of(folder, pools={"app": {}}, route=[{"script": "ws.php", "pool": "app"}])
    assert list(settings.pools) == ["app"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_an_unreadable_file_or_folder_is_an_error_line(folder):
    (folder / "live").chmod(0)
    assert error_of(folder, gateway={"port": "tls:443", "certificates": "live"}) == (
        'gateway.certificates = "live": not readable by this user ("FOLDER/live")'
    )
    (folder / "ws.php").chmod(0)
    assert error_of(folder) == (
        'route[/].script = "ws.php": not readable by this user ("FOLDER/ws.php")'
    )


def test_a_php_program_is_a_name_or_a_file_that_may_be_run(folder):
    (folder / "php").write_text("#!/bin/sh")
    (folder / "php").chmod(0o755)
    for written, program in (("php-fpm8.2", "php-fpm8.2"), ("./php", str(folder / "php"))):
        pool = settings_of(folder, pools={"default": {"php": written}}).pools["default"]
        assert pool.php == program


def test_content_types_and_users_are_kept_as_they_are_written(folder):
    settings = settings_of(
        folder,
        pools={"default": {"user": "root"}},
        route=[
            {
                "script": "ws.php",
                "events": ["message"],
                "text_content_type": "text/plain; charset=utf-8",
            }
        ],
    )
    assert settings.pools["default"].user == "root"
    assert settings.routes[0].text_content_type == "text/plain; charset=utf-8"


def test_settings_cannot_be_changed():
    with pytest.raises(AttributeError):
        Limits().max_message_size = 5
    assert Limits().max_message_size == MIB < GIB


# --- anything --------------------------------------------------------------------------------

NAMES = st.one_of(
    st.sampled_from([name for s in (Gateway, Limits, Pool, Route) for name in described(s)]),
    st.sampled_from(["gateway", "limits", "pools", "route", "default"]),
    st.text(max_size=8),
)
VALUES = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(),
        st.datetimes(),
        st.text(max_size=20),
        st.sampled_from(["1MiB", "5s", "/", "ws.php", "tls:443", FPM, "*", "default", "root"]),
        st.sampled_from([10**400, -(10**400), "tcp:", "unix:/", "\ud800", "//"]),
    ),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=12,
)
TABLES = st.dictionaries(NAMES, VALUES, max_size=5)
TREES = st.fixed_dictionaries(
    {},
    optional={
        "gateway": TABLES,
        "limits": TABLES,
        "pools": st.dictionaries(NAMES, TABLES, max_size=3),
        "route": st.lists(TABLES, max_size=3),
        "x": VALUES,
    },
)


def outcome(tree):
    """Return the error line, or the settings in words; anything but ConfigError is raised."""
    try:
        return repr(build([Source(tree, "/nowhere")]))
    except ConfigError as error:
        return str(error)


@given(st.one_of(TREES, st.dictionaries(NAMES, VALUES)))
def test_any_tree_gives_settings_or_one_printable_error_line(tree):
    line = outcome(tree)
    assert line.isprintable()
    assert line.startswith("Settings(") or len(line) < 1000


@pytest.mark.parametrize(
    ("section", "name"),
    [(s, n) for s in (Gateway, Limits, Pool, Route) for n in described(s)],
)
@hypothesis.settings(max_examples=30)
@given(value=VALUES)
def test_any_value_of_any_setting_gives_settings_or_an_error_line(section, name, value):
    table = {"script": "/", name: value} if section is Route else {name: value}
    tree = {
        Gateway: {"gateway": table},
        Limits: {"limits": table},
        Pool: {"pools": {"default": table}},
        Route: {"route": [table], "pools": {"default": {"fastcgi": FPM}}},
    }[section]
    assert outcome(tree).isprintable()


@pytest.mark.parametrize("count", [1, 2, 8])
def test_as_many_workers_as_php_workers_are_taken(folder, count):
    assert settings_of(folder, gateway={"workers": count}).gateway.workers == count


def test_a_pool_that_no_route_uses_does_not_limit_the_workers(folder):
    pools = {"default": {}, "other": {"max_in_flight": 1}}
    assert settings_of(folder, gateway={"workers": 4}, pools=pools).gateway.workers == 4


@pytest.mark.parametrize(("cores", "workers"), [(1, 1), (6, 6), (8, 8), (64, 8)])
def test_auto_is_one_worker_per_core_and_no_more_than_php_workers(
    folder, monkeypatch, cores, workers
):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(cores), raising=False)
    assert settings_of(folder, gateway={"workers": "auto"}).gateway.workers == workers


def test_where_the_system_does_not_tell_its_cores_python_does(folder, monkeypatch):
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 3)
    assert settings_of(folder, gateway={"workers": "auto"}).gateway.workers == 3
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert settings_of(folder, gateway={"workers": "auto"}).gateway.workers == 1
