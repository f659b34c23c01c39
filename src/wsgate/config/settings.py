"""Every setting with its unit, default and reason, as frozen typed values. Times are in seconds."""

from __future__ import annotations

import os.path
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from wsgate.config import checks
from wsgate.config.about import about
from wsgate.config.hooks import NamedHook, hook
from wsgate.config.kinds import Choice, Count, Flag, Ini, Path, Size, Text, Texts, Time, Workers
from wsgate.config.limits import Limits
from wsgate.config.stores import StoreSettings
from wsgate.config.units import KIB, MIB


@dataclass(frozen=True, slots=True, kw_only=True)
class Gateway:
    """Where clients connect, with which certificate, and how wsgate stops."""

    port: tuple[str, ...] = field(
        default=("tcp:8080:interface=127.0.0.1",),
        metadata=about(
            Texts(checks.port, unit="endpoint, or list of them", at_least=1),
            "where clients connect: a Twisted server endpoint, or tls:PORT",
            limit="a port that cannot be bound stops the start",
            why="reachable from this machine only, until you say otherwise",
        ),
    )
    certificate: str | None = field(
        default=None,
        metadata=about(
            Path(), "PEM certificate chain for tls:PORT", why="there is no sensible guess"
        ),
    )
    private_key: str | None = field(
        default=None,
        metadata=about(
            Path(), "PEM private key of the certificate", why="there is no sensible guess"
        ),
    )
    certificates: str | None = field(
        default=None,
        metadata=about(
            Path("folder"),
            "folder of PEM files, chosen by the host name the client asks for",
            why="there is no sensible guess",
        ),
    )
    self_signed: bool = field(
        default=False,
        metadata=about(
            Flag(),
            "make a throw-away certificate for tls:PORT, to try things out",
            why="browsers warn about it: never by accident",
        ),
    )
    client_ca: str | None = field(
        default=None,
        metadata=about(
            Path(),
            "PEM file of the authorities that sign clients' certificates, for tls:PORT",
            limit="a client without a good certificate: the TLS handshake fails",
            why="clients are not asked for one",
        ),
    )
    client_certificate: Literal["require", "optional"] = field(
        default="require",
        metadata=about(
            Choice(("require", "optional")),
            "with client_ca: whether a client must show a certificate, or may",
            limit="a bad one is refused either way",
            why="whoever names authorities wants no others in",
        ),
    )
    certificate_check_interval: float = field(
        default=5.0,
        metadata=about(
            Time(0.1, 86400, zero=True),
            "between looks at whether the files of certificates have changed",
            limit="0: only SIGHUP reads them again",
            why="nothing but the files' times is looked at; a renewal is in use within two looks",
        ),
    )
    trusted_proxies: tuple[str, ...] = field(
        default=(),
        metadata=about(
            Texts(checks.proxy, unit="list of addresses, networks, `unix`"),
            "proxies that are believed: X-Forwarded-For and -Proto on every port, the PROXY "
            "header on haproxy: ports",
            limit="another's X-Forwarded-* mean nothing; on a haproxy: port it is sent away",
            why="whoever is believed can claim any address. Left empty, haproxy: ports take this "
            "machine (127.0.0.0/8, ::1, unix)",
        ),
    )
    workers: int = field(
        default=1,
        metadata=about(
            Workers(1, 256),
            "processes on the same ports; auto: one per core",
            limit="one that ends is started again",
            why="one is enough for most; PHP is what needs the cores",
        ),
    )
    drain_timeout: float = field(
        default=20.0,
        metadata=about(
            Time(0, 3600),
            "requests in flight get to finish when wsgate stops",
            limit="longer: the client gets error 504, and is closed",
            why="most scripts take less; shorter than systemd's own patience",
        ),
    )
    close_spread: float = field(
        default=5.0,
        metadata=about(
            Time(0, 600),
            "over which clients are closed when wsgate stops; 2 ms for each if that is less",
            why="not all of them come back in one moment; ten of them are gone at once",
        ),
    )
    stop_timeout: float = field(
        default=60.0,
        metadata=about(
            Time(1, 7200),
            "a stop may take in all",
            limit="longer: what is left is cut off",
            why="above drain_timeout, closing and the end of PHP together",
        ),
    )
    control: str | None = field(
        default=None,
        metadata=about(
            Text(checks.control),
            "where the HTTP interface for push, health and metrics listens: a server endpoint",
            limit="clients of `port` never reach it",
            why="nobody is told anything who was not meant to be",
        ),
    )
    control_token_file: str | None = field(
        default=None,
        metadata=about(
            Path(),
            "file with the token that `control` asks for; needed unless it is a UNIX socket",
            limit="another token, or none: 401",
            why="there is no sensible guess",
        ),
    )
    control_max_body: int = field(
        default=MIB,
        metadata=about(
            Size(1, 64 * MIB),
            "longest body of a request to `control`, so longest message that is pushed",
            limit="longer: 413",
            why="it is in memory once, and goes to every receiver; like max_message_size",
        ),
    )
    control_max_connections: int = field(
        default=256,
        metadata=about(
            Count(1, 10**4),
            "connections to `control` at a time",
            limit="more wait; those that say nothing for a second give way, the longest first",
            why="PHP pushes from every worker; each needs a file descriptor",
        ),
    )
    control_time_per_turn: float = field(
        default=0.002,
        metadata=about(
            Time(0.0001, 1),
            "processor time for requests to `control` before clients are looked at again",
            limit="more requests wait for the next turn",
            why="a flood of pushes makes a client's message a few ms late, and some 4,000 a "
            "second go through",
        ),
    )
    state: str | None = field(
        default=None,
        metadata=about(
            Path("folder"),
            "where it is kept on disk of whose end PHP is to hear; one for each service",
            limit="a folder that cannot be written, or that others may write, stops the start",
            why="$STATE_DIRECTORY of systemd, else /var/lib/wsgate for root, else "
            "~/.local/state/wsgate; made only if a route asks for disconnect",
        ),
    )
    disconnect_age: float = field(
        default=86400.0,
        metadata=about(
            Time(1, 365 * 86400),
            "a disconnect is kept for a PHP that cannot be told",
            limit="longer: it is given up, logged and counted",
            why="a day is enough to mend PHP; what is older nobody waits for",
        ),
    )
    disconnect_backlog: int = field(
        default=100_000,
        metadata=about(
            Count(1, 10**7),
            "disconnects that are kept for a PHP that cannot be told, in each process",
            limit="more, or more than 2 KiB for each on the average: the oldest is given up, "
            "logged and counted",
            why="about 200 MiB of disk and of memory",
        ),
    )
    bus: str | None = field(
        default=None,
        metadata=about(
            Text(checks.bus, unit="URL"),
            "Redis through which several gateways act as one: redis://, rediss:// or unix://",
            limit="while it is away nothing is published, and the control interface answers 503",
            why="none: this gateway is alone. A password in it is shown nowhere",
        ),
    )
    bus_prefix: str = field(
        default="wsgate",
        metadata=about(
            Text(checks.bus_prefix),
            "what everything of these gateways in Redis begins with",
            limit="gateways with another prefix know nothing of these",
            why="one Redis may serve several sites",
        ),
    )
    bus_lease: float = field(
        default=10.0,
        metadata=about(
            Time(1, 600),
            "the presence of a gateway outlives it that was killed, or lost its way to Redis",
            limit="longer: it leaves its channels, as the other gateways see it",
            why="long enough for a pause of the network, short enough for people",
        ),
    )
    demo: bool = field(
        default=False,
        metadata=about(
            Flag(), "serve the demo page and its PHP script", why="it is for trying things out"
        ),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """One FastCGI application: either `fastcgi` says where, or wsgate runs PHP itself."""

    name: str
    fastcgi: tuple[str, ...] = field(
        default=(),
        metadata=about(
            Texts(checks.fastcgi, unit="endpoint, or list of them"),
            "where PHP-FPM listens: a Twisted client endpoint; none: wsgate runs PHP itself",
            limit="one that refuses is passed over for the next",
            why="one command is enough to try wsgate",
        ),
    )
    max_in_flight: int = field(
        default=8,
        metadata=about(
            Count(1, 10000),
            "requests PHP works on at a time",
            limit="more wait in the queue",
            why="at most pm.max_children, less what the web site itself needs; a private pool "
            "has exactly this many workers",
        ),
    )
    max_streams: int | None = field(
        default=None,
        metadata=about(
            Count(0, 9999),
            "of these, streamed answers; 0: none",
            limit="more: the client gets error 503, and PHP is stopped at its next output",
            why="a quarter of max_in_flight, at least 1: a stream keeps its worker for minutes, "
            "and the others must serve messages",
        ),
    )
    queue: int = field(
        default=256,
        metadata=about(
            Count(1, 10**6),
            "requests that wait for PHP",
            limit="more: the client gets error 503 at once",
            why="about what 8 workers do within the deadline at 150 ms each",
        ),
    )
    queue_deadline: float = field(
        default=5.0,
        metadata=about(
            Time(0.01, 3600),
            "a request waits in the queue",
            limit="longer: the client gets error 503, and PHP never sees the message",
            why="people have given up by then",
        ),
    )
    response_timeout: float = field(
        default=30.0,
        metadata=about(
            Time(0.01, 86400),
            "PHP works on one request",
            limit="longer: the client gets error 504; PHP may still be running",
            why="PHP's own max_execution_time",
        ),
    )
    connect_timeout: float = field(
        default=1.0,
        metadata=about(
            Time(0.01, 600),
            "to connect to PHP-FPM",
            limit="longer: the next of `fastcgi`, then error 502",
            why="it is on this machine or in this network",
        ),
    )
    write_timeout: float = field(
        default=5.0,
        metadata=about(
            Time(0.1, 600),
            "PHP-FPM takes nothing more of a long message",
            limit="longer: the client gets error 504; the script may run with a part of the body",
            why="a worker reads the whole body before the script runs, so only a stuck one stops; "
            "response_timeout would keep the message in memory for longer",
        ),
    )
    breaker_connects: int = field(
        default=10,
        metadata=about(
            Count(1, 10000, zero=True),
            "connects to a PHP-FPM that fail in a row before it is left alone",
            limit="more: error 502 at once, but for one message a second that tries; with another "
            "of `fastcgi` in service a single failure is enough, and the other takes all messages",
            why="clients need not wait for what is down; a restart of PHP-FPM within 0.3 s does "
            "not count, since each message is tried for that long",
        ),
    )
    breaker_percent: int = field(
        default=50,
        metadata=about(
            Count(1, 100, zero=True),
            "percent of the messages within 10 seconds, at least 20, that a PHP-FPM takes and "
            "loses before it is left alone",
            limit="more: as above, but one message tries each second, or with others in service "
            "each 1 to 10 seconds, until one is answered",
            why="it accepts but cannot work; answers with errors and slow scripts do not count. "
            "Use 0 if a script can crash its worker by what a client sends",
        ),
    )
    keep_connections: bool | None = field(
        default=None,
        metadata=about(
            Flag(),
            "keep FastCGI connections open between requests; left out: for a private pool only",
            why="a kept connection holds a worker of PHP-FPM even while idle, and others may need "
            "it; the workers of a private pool are ours alone",
        ),
    )
    php: str | None = field(
        default=None,
        metadata=about(
            Path("program", program=True),
            "private pool only: the php-fpm or php-cgi to run",
            why="php-fpm, else php-cgi, as found on PATH",
        ),
    )
    user: str | None = field(
        default=None,
        metadata=about(
            Text(checks.user),
            "private pool only: the user PHP runs as, if wsgate is started as root",
            why="an unprivileged user is chosen",
        ),
    )
    ini: Mapping[str, str] = field(
        default_factory=dict,
        metadata=about(
            Ini(),
            "private pool only: php.ini directives, as [pools.NAME.ini]",
            why="PHP's own php.ini holds",
        ),
    )

    @property
    def streams(self) -> int:
        """`max_streams`, with its automatic value worked out."""
        return max(1, self.max_in_flight // 4) if self.max_streams is None else self.max_streams

    @property
    def private(self) -> bool:
        """Whether wsgate runs this pool's PHP itself."""
        return not self.fastcgi

    @property
    def keeps_connections(self) -> bool:
        """`keep_connections`, with its automatic value worked out."""
        return self.private if self.keep_connections is None else self.keep_connections


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """Which script answers the clients of one URL path."""

    path: str = field(
        default="/",
        metadata=about(
            Text(checks.url_path),
            'the URL path served; "/" is every path',
            limit="a path that no route serves: 404",
            why="one script is the common case",
        ),
    )
    script: str = field(
        metadata=about(
            Path(),
            "the PHP script that gets the messages (SCRIPT_FILENAME)",
            why="it must be given, and is never taken from the URL",
        ),
    )
    document_root: str | None = field(
        default=None,
        metadata=about(
            Path("folder"),
            "DOCUMENT_ROOT for PHP; the script lies inside",
            why="the script's folder",
        ),
    )
    pool: str = field(
        default="default",
        metadata=about(
            Text(checks.pool_name),
            "the pool that runs the script",
            why="the pool the options make",
        ),
    )
    events: tuple[str, ...] = field(
        default=("message",),
        metadata=about(
            Texts(
                checks.event,
                unit="list of words",
                at_least=1,
                bounds="connect, message, disconnect",
            ),
            "the events PHP gets: connect, message, disconnect",
            limit="without message: a client that sends one is closed with 1008",
            why="what most scripts want; docs/events.md says what the others promise",
        ),
    )
    origins: tuple[str, ...] = field(
        default=(),
        metadata=about(
            Texts(checks.origin, unit="list of origins"),
            'web sites whose pages may connect: "scheme://host[:port]", "null", or "*" for any',
            limit="another Origin: 403",
            why="none: the host that was asked for. No Origin header, so no browser: accepted",
        ),
    )
    subprotocols: tuple[str, ...] = field(
        default=(),
        metadata=about(
            Texts(checks.subprotocol),
            "subprotocols spoken; the first of the client's list that is among them is taken",
            limit="none in common: the client connects without one",
            why="few clients use them",
        ),
    )
    dialect: Literal["plain", "grip", "pusher"] = field(
        default="plain",
        metadata=about(
            Choice(("plain", "grip", "pusher")),
            "what is spoken: docs/grip.md, docs/pusher.md",
            why="messages as they are",
        ),
    )
    hooks: tuple[str, ...] = field(
        default=(),
        metadata=about(
            Texts(hook, unit="list of names"),
            "what acts on clients and messages before PHP, in this order: names of [hooks], those "
            "that come with wsgate, or module:object (docs/hooks.md)",
            limit="one that cannot be made stops the start",
            why="none: nothing stands between client and PHP",
        ),
    )
    on_hook_failure: Literal["refuse", "pass"] = field(
        default="refuse",
        metadata=about(
            Choice(("refuse", "pass")),
            "a hook fails or takes too long: refuse the client or the message, or go on without it",
            limit="refuse: 503",
            why="what a hook guards must not be open while it cannot say anything",
        ),
    )
    grip_key_file: str | None = field(
        default=None,
        metadata=about(
            Path(),
            "grip: file with the key of Grip-Sig and of publishers: a secret, base64:…, or an RSA "
            "or P-256 private key in PEM; wsgate reads it",
            limit="a publisher's token that it has not signed: 401",
            why="none: no Grip-Sig is sent, and /publish/ takes the control interface's token only",
        ),
    )
    grip_iss: str = field(
        default="pushpin",
        metadata=about(
            Text(),
            "grip: the issuer in Grip-Sig",
            why="what applications that were behind Pushpin look for",
        ),
    )
    grip_prefix: str = field(
        default="",
        metadata=about(
            Text(checks.channel_prefix),
            "grip: stands before the name of every channel of this route",
            why="one application has all channels",
        ),
    )
    app_id: str | None = field(
        default=None,
        metadata=about(
            Text(checks.app),
            "pusher: the application's id, as in the URLs of its API",
            why="there is no sensible guess",
        ),
    )
    app_key: str | None = field(
        default=None,
        metadata=about(
            Text(checks.app),
            "pusher: its public key; clients connect at PATH/app/KEY",
            limit="another key: error 4001",
            why="there is no sensible guess",
        ),
    )
    app_secret_file: str | None = field(
        default=None,
        metadata=about(
            Path(),
            "pusher: file with its secret, which wsgate can read",
            limit="a wrong signature: 401, or no subscription",
            why="there is no sensible guess",
        ),
    )
    client_events: bool = field(
        default=False,
        metadata=about(
            Flag(),
            "pusher: clients may send events (Echo's `whisper`)",
            limit="off, on a public or encrypted channel, or over 10 a second: error 4301",
            why="nothing reaches other clients that the application has not said; Reverb's is on",
        ),
    )
    webhooks: tuple[str, ...] = field(
        default=("channels", "members", "cache_misses"),
        metadata=about(
            Texts(checks.webhook, unit="list of words", bounds=", ".join(checks.WEBHOOKS)),
            "pusher: what `script` is told, if there is one",
            limit="a script that fails: sent again for 5 minutes, 10,000 events at most",
            why="all but client_events, which can be as many as messages",
        ),
    )
    webhook_uri: str | None = field(
        default=None,
        metadata=about(
            Text(checks.url_path),
            "pusher: REQUEST_URI of webhooks, for a front controller",
            why="the script's name",
        ),
    )
    activity_timeout: float = field(
        default=30.0,
        metadata=about(
            Time(1, 3600),
            "pusher: a client that hears nothing for so long pings",
            why="Reverb's and soketi's; mobile networks forget what is silent for longer",
        ),
    )
    subscription_counts: bool = field(
        default=False,
        metadata=about(
            Flag(),
            "pusher: subscribers are told how many they are",
            limit="told a second after it has changed",
            why="as with Pusher: each coming and going is a message for all",
        ),
    )
    max_presence_members: int = field(
        default=100,
        metadata=about(
            Count(1, 10**4),
            "pusher: users in one presence channel",
            limit="more: no subscription (LimitReached)",
            why="Pusher's and soketi's: everybody is told of everybody",
        ),
    )
    max_presence_member_size: int = field(
        default=10 * KIB,
        metadata=about(
            Size(1, MIB),
            "pusher: user_info of one member",
            limit="longer: no subscription (LimitReached)",
            why="everybody gets it from everybody; Pusher takes 1 KB",
        ),
    )
    max_event_size: int = field(
        default=100 * KIB,
        metadata=about(
            Size(1, 64 * MIB),
            "pusher: data of one event",
            limit="longer: 413 to the application, error 4301 to a client",
            why="Pusher's 10 KB are soon too few",
        ),
    )
    on_error: Literal["reply", "close"] = field(
        default="reply",
        metadata=about(
            Choice(("reply", "close")),
            "when PHP fails: an error message, or a close (1011, 1013 for overload)",
            why="one failed call does not cost the connection",
        ),
    )
    text_content_type: str | None = field(
        default=None,
        metadata=about(
            Text(checks.content_type),
            "CONTENT_TYPE of every text message",
            why="application/json if it begins with { or [, else application/x-www-form-urlencoded",
        ),
    )
    binary_content_type: str | None = field(
        default=None,
        metadata=about(
            Text(checks.content_type),
            "CONTENT_TYPE of every binary message",
            why="application/octet-stream",
        ),
    )

    @property
    def root(self) -> str:
        """`document_root`, or the script's folder where none was given."""
        return self.document_root or os.path.dirname(self.script)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything wsgate can be told. `routes` is empty only with `gateway.demo`."""

    gateway: Gateway = field(default_factory=Gateway)
    limits: Limits = field(default_factory=Limits)
    pools: Mapping[str, Pool] = field(default_factory=dict)
    routes: tuple[Route, ...] = ()
    hooks: Mapping[str, NamedHook] = field(default_factory=dict)
    """By name, those that routes use without a section of their own included."""
    hook_folders: tuple[str, ...] = ()
    """Where modules of hooks may be, beside Python's own path."""
    stores: Mapping[str, StoreSettings] = field(default_factory=dict)
