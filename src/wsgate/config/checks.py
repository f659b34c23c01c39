"""Checks of single texts. Each returns the text in its normal form, or raises ValueError.

The message is the tail of an error line: what is wrong, and what would be right.
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
import pwd
import re

from twisted.internet.endpoints import clientFromString
from twisted.internet.interfaces import IHostnameResolver, IReactorPluggableNameResolver
from twisted.internet.protocol import Factory
from zope.interface import implementer

from wsgate.config.errors import escaped
from wsgate.redis import parse as parse_redis_url

# RFC 9110 §5.6.2.
_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_DEFAULT_PORTS = {"http": "80", "https": "443", "ws": "80", "wss": "443"}
_ENDPOINT_EXAMPLES = "like unix:/run/php/php8.2-fpm.sock or tcp:127.0.0.1:9000"


def port(value: str) -> str:
    """A server endpoint. Only its shape is looked at; wsgate.tls and Twisted know the rest."""
    if re.fullmatch(r"[0-9]+", value):
        raise ValueError(f"not an endpoint; did you mean tcp:{value}?")
    if match := re.fullmatch(r"([0-9]+(?:\.[0-9]+){3}):([0-9]+)", value):
        raise ValueError(f"not an endpoint; did you mean tcp:{match[2]}:interface={match[1]}?")
    if not re.match(r"[A-Za-z0-9_]+:", value):
        raise ValueError("not an endpoint; write one like tcp:8080, tls:443 or unix:/run/ws.sock")
    return value


def control(value: str) -> str:
    """The endpoint of the control interface: as `port`, but without the short form tls:PORT."""
    if match := re.match(r"(?:haproxy:)?tls:([0-9]+)(:|$)", value, re.IGNORECASE):
        raise ValueError(
            f"needs a certificate of its own; write tls:FOLDER:port={match[1]} with a folder of "
            "PEM files, or tcp:9100:interface=127.0.0.1, or unix:/run/wsgate/control.sock"
        )
    return port(value)


def bus(value: str) -> str:
    """The URL of a Redis. The error never shows it: there may be a password in it."""
    parse_redis_url(value)
    return value


def bus_prefix(value: str) -> str:
    """What keys in Redis begin with."""
    if not re.fullmatch(r"[A-Za-z0-9_.-]{1,64}", value):
        raise ValueError("write 1 to 64 letters, digits or _.-")
    return value


def is_unix_endpoint(value: str) -> bool:
    """Whether a server endpoint is a UNIX socket, which permissions protect."""
    return bool(re.match(r"unix:|systemd:(.*:)?domain=UNIX(:|$)", value, re.IGNORECASE))


@implementer(IReactorPluggableNameResolver)
class _Dialled:
    """Stands where a reactor would, and only remembers what it should connect to."""

    nameResolver: IHostnameResolver | None = None
    host: str | None = None
    path: str | None = None
    port = 0

    def connectTCP(self, host: str, port: int, *_args: object, **_options: object) -> None:
        self.host, self.port = host, port

    def installNameResolver(self, resolver: IHostnameResolver) -> IHostnameResolver:
        """Endpoints look for this, never call it."""
        self.nameResolver = resolver
        return resolver

    def connectUNIX(self, path: str, *_args: object, **_options: object) -> None:
        self.path = path


def fastcgi(value: str) -> str:
    """A Twisted client endpoint; of `tcp:`, `unix:` and `tls:` also what they name is checked."""
    # The forms that nginx and PHP-FPM use.
    if value.startswith("/"):
        raise ValueError(f"not an endpoint; did you mean unix:{escaped(value)}?")
    if re.fullmatch(r"(?!tcp:|unix:)[A-Za-z0-9.-]+:[0-9]{1,5}", value):
        raise ValueError(f"not an endpoint; did you mean tcp:{value}?")
    if re.match(r"ssl:", value, re.IGNORECASE):
        raise ValueError("does not say whose certificate is right; write tls:HOST:PORT")
    if re.match(r"tls:", value, re.IGNORECASE):
        _check_trust_roots(value)
    dialled = _Dialled()
    try:
        endpoint = clientFromString(dialled, value)
        if re.match(r"(tcp|unix):", value, re.IGNORECASE):
            endpoint.connect(Factory())
    # Endpoint parsers, plugins among them, raise whatever comes to their mind.
    except Exception:
        raise ValueError(f"not an endpoint; write one {_ENDPOINT_EXAMPLES}") from None
    if dialled.path is not None and not dialled.path.startswith("/"):
        raise ValueError(f"not an absolute path; write an endpoint {_ENDPOINT_EXAMPLES}")
    if dialled.host is not None and not (dialled.host and 1 <= dialled.port <= 65535):
        raise ValueError(f"not a host and a port of 1 to 65535; write one {_ENDPOINT_EXAMPLES}")
    return value


def _check_trust_roots(value: str) -> None:
    """Twisted passes over a folder without certificates, and then trusts nobody."""
    match = re.search(r":trustRoots=((?:\\.|[^:\\])*)", value)
    if match is not None:
        folder = re.sub(r"\\(.)", r"\1", match[1])
        try:
            names = os.listdir(folder)
        except OSError as error:
            raise ValueError(f"{error.filename}: {error.strerror}") from None
        if not any(name.lower().endswith(".pem") for name in names):
            raise ValueError(f"no file NAME.pem in {escaped(folder)}, the folder of trustRoots")


def proxy(value: str) -> str:
    """An IP address or network in its normal form, or `unix`."""
    if value == "unix":
        return value
    try:
        return str(ipaddress.ip_network(value))
    except ValueError:
        mend = "write an address or a network, like 10.0.0.5 or 10.0.0.0/8, or unix"
    with contextlib.suppress(ValueError):
        mend = f"did you mean {ipaddress.ip_network(value, strict=False)}?"
    raise ValueError(f"not an address or network; {mend}")


def user(value: str) -> str:
    """The name of a user of this machine."""
    try:
        return pwd.getpwnam(value).pw_name
    except (KeyError, ValueError):
        raise ValueError("no such user on this machine") from None


def url_path(value: str) -> str:
    """The path of a URL (RFC 3986 §3.3), as the request line has it."""
    if not value.startswith("/"):
        raise ValueError("not a URL path; begin with /, like /chat")
    if re.search(r"[^\x21-\x7e]|[?#]", value):
        raise ValueError("not a URL path; printable ASCII without ? and #, like /chat")
    return value


def pool_name(value: str) -> str:
    """A name that can stand in a log line, a file name and a TOML key without quotes."""
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", value):
        raise ValueError("not a pool name; at most 64 of A-Z a-z 0-9 _ -")
    return value


def store_name(value: str) -> str:
    """A name that can stand in a log line, a label and a TOML key without quotes."""
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", value):
        raise ValueError("not a store's name; at most 64 of A-Z a-z 0-9 _ -")
    return value


def app(value: str) -> str:
    """The id or key of an application: a part of a URL, and of channels' names inside."""
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", value):
        raise ValueError("not an id or key; at most 64 of A-Z a-z 0-9 _ -")
    return value


WEBHOOKS = ("channels", "members", "client_events", "cache_misses")


def webhook(value: str) -> str:
    """A kind of event that webhooks tell of."""
    if value not in WEBHOOKS:
        raise ValueError(f"not a webhook; known: {', '.join(WEBHOOKS)}")
    return value


def channel_prefix(value: str) -> str:
    """What the names of some channels begin with."""
    if not re.fullmatch(r"[A-Za-z0-9_.:-]{1,64}", value):
        raise ValueError("not the beginning of a channel's name; at most 64 of A-Z a-z 0-9 _ . : -")
    return value


def event(value: str) -> str:
    """An event PHP can get."""
    if value not in EVENTS:
        raise ValueError("not an event; write connect, message or disconnect")
    return value


EVENTS = ("connect", "message", "disconnect")


def origin(value: str) -> str:
    """An origin as browsers write it (RFC 6454 §6.2): lower case, without the default port."""
    if value in ("*", "null"):
        return value
    match = re.fullmatch(
        r"([a-z][a-z0-9+.-]*)://([a-z0-9_.-]+|\[[0-9a-f:.]+\])(?::([0-9]{1,5}))?",
        value.lower(),
        re.ASCII,
    )
    if match is None or not value.isascii():
        right = "scheme://host[:port] without a path, like https://example.com, or null or *"
        raise ValueError(f"not an origin; write {right}")
    scheme, host, number = match.groups()
    if host.startswith("["):
        host = _ipv6(host)
    if number is None or int(number) == int(_DEFAULT_PORTS.get(scheme, -1)):
        return f"{scheme}://{host}"
    if not 1 <= int(number) <= 65535:
        raise ValueError("the port of an origin is 1 to 65535")
    return f"{scheme}://{host}:{int(number)}"


def _ipv6(host: str) -> str:
    try:
        return f"[{ipaddress.IPv6Address(host[1:-1]).compressed}]"
    except ValueError:
        raise ValueError("not an IPv6 address; write it like http://[::1]:8080") from None


def subprotocol(value: str) -> str:
    """A subprotocol's name: a token (RFC 6455 §4.1)."""
    if not re.fullmatch(_TOKEN, value):
        raise ValueError("not a subprotocol; letters, digits and !#$%&'*+-.^_`|~, like chat.v1")
    return value


def content_type(value: str) -> str:
    """A media type, with or without parameters (RFC 9110 §8.3.1)."""
    if not re.fullmatch(rf"{_TOKEN}/{_TOKEN}( *;[\x20-\x7e]*)?", value):
        raise ValueError("not a media type; write one like application/json")
    return value
