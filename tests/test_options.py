"""wsgate.options: the command line, and the line that says what is wrong with it."""

import re
import shlex
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.python.usage import Options as TwistedOptions

from wsgate.config import Gateway, Limits, Pool, Route, Settings
from wsgate.config.about import described
from wsgate.config.units import MIB
from wsgate.options import OPTIONS, Options

FPM = "unix:/run/php/php8.2-fpm.sock"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    (tmp_path / "ws.php").write_text("<?php")
    (tmp_path / "chat.php").write_text("<?php")
    for name in ("chain.pem", "key.pem"):
        (tmp_path / name).write_text("-----BEGIN")
    (tmp_path / "live").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def parsed(*arguments):
    options = Options()
    options.parseOptions(arguments)
    return options.settings


def error_of(*arguments):
    with pytest.raises(SystemExit) as caught:
        Options().parseOptions(arguments)
    line = caught.value.code
    assert isinstance(line, str)
    assert line.startswith("wsgate: ")
    assert line.isprintable()
    return line.removeprefix("wsgate: ")


def test_a_script_alone_is_enough(folder):
    assert parsed("--script", "ws.php") == Settings(
        pools={"default": Pool(name="default")},
        routes=(Route(path="/", script=str(folder / "ws.php")),),
    )


def test_every_option_at_once(folder):
    settings = parsed(
        "-p", "tls:443", "--port=tcp:80", "-s", "ws.php", "-f", FPM, "--fastcgi=tcp:127.0.0.1:9000",
        "--path", "/chat", "--certificate", "chain.pem", "--private-key", "key.pem",
        "--certificates", "live", "--demo", "--set", "limits.max_message_size=32MiB",
    )  # fmt: skip
    assert settings == Settings(
        gateway=Gateway(
            port=("tls:443", "tcp:80"),
            certificate=str(folder / "chain.pem"),
            private_key=str(folder / "key.pem"),
            certificates=str(folder / "live"),
            demo=True,
        ),
        limits=Limits(max_message_size=32 * MIB, max_frame_size=32 * MIB),
        pools={"default": Pool(name="default", fastcgi=(FPM, "tcp:127.0.0.1:9000"))},
        routes=(Route(path="/chat", script=str(folder / "ws.php")),),
    )


def test_workers_is_a_number_or_auto(folder):
    assert parsed("-s", "ws.php", "--workers", "2").gateway.workers == 2
    assert parsed("-s", "ws.php", "--set", "gateway.workers=3").gateway.workers == 3
    assert 1 <= parsed("-s", "ws.php", "--workers", "auto").gateway.workers <= 8


def test_self_signed_is_a_flag(folder):
    gateway = parsed("-s", "ws.php", "-p", "tls:443", "--self-signed").gateway
    assert gateway == Gateway(port=("tls:443",), self_signed=True)


def test_the_demo_needs_no_script():
    assert parsed("--demo") == Settings(
        gateway=Gateway(demo=True), pools={"default": Pool(name="default")}
    )


def test_a_tac_file_may_parse_options_more_than_once(folder):
    assert parsed("-s", "ws.php", "-p", "tcp:1").gateway.port == ("tcp:1",)
    assert parsed("-s", "ws.php", "-p", "tcp:2").gateway.port == ("tcp:2",)


# --- --set ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given_set", "expected"),
    [
        ("pools.default.max_in_flight=4", 4),
        ("pools.default.max_in_flight = 4", None),
        ("pools.default.queue_deadline=250ms", 0.25),
        ('pools.default.queue_deadline="250ms"', 0.25),
        ("pools.default.keep_connections=false", False),
    ],
)
def test_set_takes_a_toml_value_or_else_a_text(folder, given_set, expected):
    if expected is None:
        assert error_of("-s", "ws.php", "--set", given_set).startswith(f"--set {given_set}: ")
        return
    pool = parsed("-s", "ws.php", "--set", given_set).pools["default"]
    assert getattr(pool, given_set.split("=")[0].split(".")[-1]) == expected


@pytest.mark.parametrize(
    ("value", "origins"),
    [
        ("https://a", ("https://a",)),
        ('["https://a", "https://b"]', ("https://a", "https://b")),
        ("*", ("*",)),
        ("[]", ()),
    ],
)
def test_set_route_means_the_route_that_the_options_make(folder, value, origins):
    routes = parsed("-s", "ws.php", "--path", "/chat", "--set", f"route.origins={value}").routes
    assert routes == (Route(path="/chat", script=str(folder / "ws.php"), origins=origins),)


def test_set_can_make_the_whole_route(folder):
    routes = parsed("--set", "route.script=ws.php", "--set", "route.path=/a").routes
    assert routes == (Route(path="/a", script=str(folder / "ws.php")),)


def test_a_named_option_wins_over_set_and_a_later_set_over_an_earlier(folder):
    settings = parsed(
        "--port=tcp:1", "--set=gateway.port=tcp:2", "-s", "ws.php", "--set=limits.max_fragments=1",
        "--set=limits.max_fragments=2", "--set=route.path=/a", "--path=/b",
    )  # fmt: skip
    assert settings.gateway.port == ("tcp:1",)
    assert settings.limits.max_fragments == 2
    assert [route.path for route in settings.routes] == ["/b"]


def test_set_reaches_single_php_ini_directives(folder):
    pool = parsed(
        "-s", "ws.php", "--set", "pools.default.ini.memory_limit=256M",
        "--set", "pools.default.ini.opcache.enable=0",
    ).pools["default"]  # fmt: skip
    assert pool.ini == {"memory_limit": "256M", "opcache.enable": "0"}


# --- the file --------------------------------------------------------------------------------


@pytest.fixture
def file(folder):
    (folder / "etc").mkdir()
    path = folder / "etc" / "wsgate.toml"
    path.write_text(
        """
        [gateway]
        port = ["tcp:8001", "tcp:8002"]
        [limits]
        max_message_size = "2MiB"
        queue_per_connection = 3
        [pools.default]
        fastcgi = "tcp:fpm:9000"
        queue = 5
        [[route]]
        path = "/chat"
        script = "chat.php"
        origins = ["https://a"]
        """
    )
    return path


def test_options_win_over_the_file_setting_by_setting(folder, file):
    from_file = parsed("--config", "etc/wsgate.toml")
    assert from_file == Settings(
        gateway=Gateway(port=("tcp:8001", "tcp:8002")),
        limits=Limits(max_message_size=2 * MIB, max_frame_size=2 * MIB, queue_per_connection=3),
        pools={"default": Pool(name="default", fastcgi=("tcp:fpm:9000",), queue=5)},
        routes=(Route(path="/chat", script=str(folder / "etc/chat.php"), origins=("https://a",)),),
    )
    over = parsed(
        "-c", str(file), "-p", "tcp:9", "-f", FPM, "-s", "ws.php", "--path", "/chat",
        "--set", "limits.max_message_size=4MiB",
    )  # fmt: skip
    assert over == replace(
        from_file,
        gateway=Gateway(port=("tcp:9",)),
        limits=replace(from_file.limits, max_message_size=4 * MIB, max_frame_size=4 * MIB),
        pools={"default": replace(from_file.pools["default"], fastcgi=(FPM,))},
        routes=(replace(from_file.routes[0], script=str(folder / "ws.php")),),
    )


def test_a_script_for_another_path_is_a_route_more(folder, file):
    routes = parsed("-c", str(file), "-s", "ws.php").routes
    assert [(route.path, route.origins) for route in routes] == [
        ("/chat", ("https://a",)),
        ("/", ()),
    ]


def test_a_file_that_an_option_makes_needless_may_be_missing(folder):
    file = folder / "a.toml"
    file.write_text('[[route]]\nscript = "gone.php"\n')
    assert error_of("-c", "a.toml") == (
        f'a.toml: route[/].script = "gone.php": no such file ("{folder}/gone.php")'
    )
    assert parsed("-c", "a.toml", "-s", "ws.php").routes[0].script == str(folder / "ws.php")


def test_check_says_that_a_file_is_good_and_exits_with_0(file, capsys):
    with pytest.raises(SystemExit) as caught:
        Options().parseOptions(["--config", str(file), "--check"])
    assert caught.value.code == 0
    assert capsys.readouterr().out == f"wsgate: --config {file}: good\n"


def test_check_says_what_is_wrong_with_a_file_and_exits_with_1(file):
    file.write_text("[limits]\nmax_mesage_size = 1\n")
    assert error_of("--config", str(file), "--check") == (
        f"{file}: limits.max_mesage_size: unknown setting; did you mean limits.max_message_size?"
    )


# --- error lines ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        # Options.
        ("--scirpt ws.php", "--scirpt: unknown option; did you mean --script?"),
        ("--prot=tcp:1", "--prot: unknown option; did you mean --port?"),
        (
            "--bus redis://:sesame@h/x",
            "--bus redis:***@h/x: needs a number as its database, like redis://HOST/0",
        ),
        (
            "--set gateway.bus=http://:sesame@h",
            "--set gateway.bus=http:***@h: not a URL of Redis; write one like "
            "redis://HOST:6379, rediss://HOST:6380 or unix:///run/redis/redis.sock",
        ),
        (
            "-s ws.php --workers many",
            '--workers many: not a whole number; write 1 to 256, or "auto"',
        ),
        ("-s ws.php --workers=", '--workers : not a whole number; write 1 to 256, or "auto"'),
        ("-s ws.php --workers 0", '--workers 0: out of range; 1 to 256, or "auto"'),
        ("-s ws.php --workers 1.5", '--workers 1.5: not a whole number; write 1 to 256, or "auto"'),
        (
            "-s ws.php --workers 3 --set pools.default.max_in_flight=2",
            "--workers 3: more than --set pools.default.max_in_flight=2, of which each worker "
            "needs one at least; raise that to 3, or lower workers to 2",
        ),
        (
            "-s ws.php --events conect",
            "--events conect: not an event; write connect, message or disconnect",
        ),
        ("-s ws.php --events=", "--events : empty"),
        ("--events connect", "--path /: the route has no script; give --script FILE"),
        ("-x", "-x: unknown option; see --help"),
        ("--cert a.pem", "--cert: could be --certificate, --certificates; write it in full"),
        ("--script", "--script: needs a value, like --script FILE"),
        ("-s", "--script: needs a value, like --script FILE"),
        ("--set", "--set: needs a value, like --set KEY=VALUE"),
        ("--demo=yes", "--demo: takes no value"),
        ("--version=1", "--version: takes no value"),
        ("ws.php", "ws.php: not an option; did you mean --script ws.php?"),
        ("tcp:80 81", "tcp:80: not an option"),
        # Values.
        ("", "no route; give --script FILE (the PHP script that gets the messages) or --demo"),
        ("--script /x/ws.php", "--script /x/ws.php: no such file"),
        ("--script nope.php", '--script nope.php: no such file ("FOLDER/nope.php")'),
        ("--script live", '--script live: a folder; give a file ("FOLDER/live")'),
        ("--script=", "--script : empty"),
        ("--demo --certificate=", "--certificate : empty"),
        ("--demo --port=", "--port : empty"),
        ("--demo --path=", "--path : empty"),
        ("--demo --config=", "--config : no such file"),
        ("--path chat -s ws.php", "--path chat: not a URL path; begin with /, like /chat"),
        ("--path /chat", "--path /chat: the route has no script; give --script FILE"),
        (
            "-s ws.php -f /run/php.sock",
            "--fastcgi /run/php.sock: not an endpoint; did you mean unix:/run/php.sock?",
        ),
        (
            f"-s ws.php -f {FPM} -f tcp:fpm",
            "--fastcgi tcp:fpm: not an endpoint; write one like unix:/run/php/php8.2-fpm.sock or "
            "tcp:127.0.0.1:9000",
        ),
        ("-s ws.php -p 8080", "--port 8080: not an endpoint; did you mean tcp:8080?"),
        ("-s ws.php -p tcp:1 -p tcp:1", "--port tcp:1: given twice"),
        (
            "-s ws.php -p tls:443",
            "--port tls:443: needs a certificate; give --certificate FILE and --private-key FILE, "
            "--certificates DIR, or --self-signed",
        ),
        (
            "-s ws.php -p tls:443 --certificate chain.pem",
            "--certificate chain.pem: needs --private-key FILE too "
            "(the same file, if the key is in it)",
        ),
        (
            "-s ws.php -p tls:443 --private-key key.pem",
            "--private-key key.pem: needs --certificate FILE too",
        ),
        ("-s ws.php --self-signed", "--self-signed: no port uses it; give --port tls:443 too"),
        ("-c nope.toml", "--config nope.toml: no such file"),
        # --set.
        (
            "-s ws.php --set queue",
            "--set queue: write KEY=VALUE, like limits.max_message_size=32MiB",
        ),
        (
            "-s ws.php --set =5",
            "--set =5: write KEY=VALUE, like limits.max_message_size=32MiB",
        ),
        (
            "-s ws.php --set limits..queue=5",
            "--set limits..queue=5: write KEY=VALUE, like limits.max_message_size=32MiB",
        ),
        (
            "-s ws.php --set limits.max_mesage_size=1",
            "--set limits.max_mesage_size=1: unknown setting; "
            "did you mean limits.max_message_size?",
        ),
        (
            "-s ws.php --set limits.max_message_size=1MB",
            "--set limits.max_message_size=1MB: not a size; "
            "write bytes or KiB/MiB/GiB, like 1MiB",
        ),
        (
            "-s ws.php --set limits=5",
            "--set limits=5: not a section; write [limits] and its settings below",
        ),
        ("-s ws.php --set limit.x=5", "--set limit.x=5: unknown section; did you mean limits?"),
        ("-s ws.php --set route=5", "--set route=5: not a list of routes; "
         "write [[route]] above each"),
        (
            "-s ws.php --set route.orgins=*",
            "--set route.orgins=*: unknown setting; did you mean route.origins?",
        ),
        (
            "-s ws.php --path chat --set route.origins=*",
            "--path chat: not a URL path; begin with /, like /chat",
        ),
        (
            "-s ws.php --set route.path=5",
            "--set route.path=5: not a text; write it in quotes",
        ),
        ("--set route.origins=*", "--set route.origins=*: the route has no script; "
         "give --script FILE"),
        ("-s ws.php --set route.pool=defalt", "--set route.pool=defalt: no such pool; "
         "did you mean default?"),
        (
            "-s ws.php --set pools.defualt.queue=5",
            "--set pools.defualt.queue=5: no route uses the pool defualt; used: default",
        ),
        (
            f"-s ws.php -f {FPM} --set pools.default.user=root",
            "--set pools.default.user=root: only for a private PHP pool, and "
            f"--fastcgi {FPM} makes this one a foreign one; leave one out",
        ),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_in_one_line_without_the_usage(folder, arguments, line, capsys):
    assert error_of(*arguments.split()).replace(str(folder), "FOLDER") == line
    assert capsys.readouterr() == ("", "")


def test_a_pool_that_only_options_speak_of_must_be_used(folder):
    (folder / "a.toml").write_text('[pools.app]\n[[route]]\nscript = "ws.php"\npool = "app"\n')
    assert list(parsed("-c", "a.toml").pools) == ["app"]
    assert error_of("-c", "a.toml", "--fastcgi", FPM) == (
        f"--fastcgi {FPM}: no route uses the pool default; used: app"
    )


def test_escapes_in_a_value_never_reach_the_terminal(folder):
    assert error_of("--script", "\x1b]0;x\x07.php") == (
        "--script \\x1b]0;x\\x07.php: has a control character in it"
    )
    assert error_of("--scr\x1bipt=1") == "--scr\\x1bipt: unknown option; did you mean --script?"


def test_a_working_directory_that_was_deleted_is_an_error_line(folder, monkeypatch):
    gone = folder / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert error_of("-s", "ws.php") == ("the working directory is gone; change to one that exists")


def test_a_name_that_is_not_utf_8_is_said_without_breaking(folder):
    assert error_of("--script", "caf\udce9.php") == (
        f'--script caf\\udce9.php: no such file ("{folder}/caf\\udce9.php")'
    )


def outcome(arguments):
    """Return the error line, or a word for a run that had none; anything else is raised."""
    options = Options()
    try:
        options.parseOptions(arguments)
    except SystemExit as exit:
        return exit.code or "wsgate: help, version or check"
    return f"wsgate: {type(options.settings).__name__}"


@given(st.text(max_size=30) | st.sampled_from(list(described(Limits))), st.text(max_size=30))
def test_any_set_gives_settings_or_one_error_line(key, value):
    for prefix in ("", "limits.", "pools.default.", "route.", "gateway.", "pools."):
        line = outcome(["--demo", "--set", f"{prefix}{key}={value}"])
        assert line.isprintable()
        assert line.startswith("wsgate: ")


@given(st.lists(st.text(max_size=12) | st.sampled_from([f"--{name}" for name in OPTIONS])))
def test_any_command_line_gives_settings_or_exits(arguments):
    assert outcome(arguments).startswith("wsgate: ")


# --- docs/options.md ---------------------------------------------------------------------------

DOC = (Path(__file__).parents[1] / "docs" / "options.md").read_text()


class Unread(Options):
    """Takes the options apart and leaves the files alone."""

    def postOptions(self):
        pass


@pytest.mark.parametrize("line", re.findall(r"^twistd .*wsgate .*-.*$", DOC, re.MULTILINE))
def test_every_command_of_the_page_is_understood(line):
    arguments = shlex.split(line)
    options = Unread()
    options.parseOptions(arguments[arguments.index("wsgate") + 1 :])
    for source in options._sources() if options["config"] is None else []:
        source.parse()


def test_the_file_of_the_page_is_good(folder):
    [example] = re.findall(r"^```toml\n(.*?)^```", DOC, re.MULTILINE | re.DOTALL)
    (folder / "wsgate.toml").write_text(example)
    settings = parsed("--config", "wsgate.toml")
    assert [route.path for route in settings.routes] == ["/chat", "/prices"]


@pytest.mark.parametrize(
    ("arguments", "file"),
    [
        ("--scirpt ws.php", ""),
        ("--script /x/ws.php", ""),
        ("-s ws.php -f 127.0.0.1:9000", ""),
        ("-c wsgate.toml", "[limits]\nmax_mesage_size = 1\n"),
        ("-c wsgate.toml", "\n\nmax_connections =\n"),
    ],
)
def test_the_error_lines_of_the_page_are_true(folder, arguments, file):
    (folder / "wsgate.toml").write_text(file)
    assert f"\nwsgate: {error_of(*arguments.split())}\n" in DOC


# --- --help and --version ------------------------------------------------------------------------


def test_help_shows_every_option_and_every_setting_within_80_columns():
    usage = str(Options())
    assert max(map(len, usage.splitlines())) < 80
    for name in OPTIONS:
        assert f"--{name}" in usage
    for section in (Gateway, Limits, Pool, Route):
        for name in described(section):
            assert name in usage or f"--{name.replace('_', '-')}" in usage


def test_help_shows_units_and_defaults():
    usage = " ".join(str(Options()).split())
    assert "tls:PORT; default tcp:8080:interface=127.0.0.1; may be repeated" in usage
    assert "max_message_size=1MiB longest message from a client (longer: close 1009)" in usage
    assert "ping_interval=25s between pings to a client; 0: none" in usage
    assert "compression=false" in usage
    assert '"/" is every path; default /' in usage


def test_help_is_printed_and_exits_with_0(capsys):
    with pytest.raises(SystemExit) as caught:
        Options().parseOptions(["--help"])
    assert caught.value.code == 0
    assert "-s, --script FILE" in capsys.readouterr().out


def test_version_names_wsgate_and_what_it_stands_on(capsys):
    with pytest.raises(SystemExit) as caught:
        Options().parseOptions(["--version"])
    assert caught.value.code == 0
    python = ".".join(map(str, sys.version_info[:3]))
    pattern = (
        rf"wsgate \S+ \(Twisted \d+\.\S+, Autobahn \d+\.\S+, Python {python}, "
        r"(compiled|pure Python)\)\n"
    )
    assert re.fullmatch(pattern, capsys.readouterr().out)


def test_every_option_of_twisted_s_parser_is_in_the_list_of_help():
    options = Options()
    known = {name.rstrip("=") for name in options.longOpt}
    assert known == set(OPTIONS)
    takes_value = {name.rstrip("=") for name in options.longOpt if name.endswith("=")}
    assert takes_value == {o.name for o in OPTIONS.values() if o.value}
    assert isinstance(options, TwistedOptions)


def test_reading_options_does_not_install_a_reactor(folder):
    program = (
        "import sys; from wsgate.options import Options; o = Options();"
        "o.parseOptions(['-s', 'ws.php', '-f', 'tcp:127.0.0.1:9000', '-f', 'tls:fpm:9000']);"
        "assert 'twisted.internet.reactor' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
