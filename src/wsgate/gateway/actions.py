"""The `Wsgate-*` headers of an answer: what is to be done beside sending it. Pure.

A header that cannot be followed is left out, with a warning for the log that says how to mend it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

from wsgate.channels import ChannelError, check_user, is_plain_channel
from wsgate.gateway.streams import stream_kind

Headers = tuple[tuple[str, str], ...]


class Close(NamedTuple):
    """A close code and reason to send, RFC 6455 §5.5.1."""

    code: int
    reason: str


class Subscribe(NamedTuple):
    """A channel to subscribe to; `recovers` asks for envelopes, and for what was missed."""

    channel: str
    recovers: bool = False


class Publish(NamedTuple):
    """Channels whose subscribers get the body; with `except_self` but for the sender."""

    channels: tuple[str, ...]
    except_self: bool = False


class Actions(NamedTuple):
    """What is done, in this order, before the message is sent.

    `variables` are (name in upper case, value), where an empty value forgets; `user` is None where
    it stays and empty where there is to be none.
    """

    variables: tuple[tuple[str, str], ...] = ()
    user: str | None = None
    unsubscribe: tuple[str, ...] = ()
    subscribe: tuple[Subscribe, ...] = ()
    publish: tuple[Publish, ...] = ()


NO_ACTIONS = Actions()


def read_actions(headers: Headers) -> tuple[Close | None, Actions | None, tuple[str, ...]]:
    """The close and the other actions that `headers` ask for, and warnings about the rest.

    Args:
        headers: (name in lower case, value as Latin-1 text), those of CGI among them.

    Returns:
        None for the actions where there are none but a close.
    """
    close: Close | None = None
    found = NO_ACTIONS
    warnings: list[str] = []
    for name, value in headers:
        if name == "wsgate-close":
            close = _close(value, warnings)
        elif name in _READERS:
            found = _READERS[name](found, value, warnings)
        elif name == "wsgate-stream":
            # Whether it is one is decided while the answer comes, by `streams`.
            if stream_kind(headers) is None:
                warnings.append(f"Wsgate-Stream: {value[:80]!r} is not one of lines, parts")
        elif name.startswith("wsgate-"):
            warnings.append(f"{name}: no such header is known")
    return close, found if found != NO_ACTIONS else None, tuple(warnings)


# -- one header


def _close(value: str, warnings: list[str]) -> Close:
    code, _, reason = value.partition(" ")
    if code.isascii() and code.isdigit() and len(code) == 4 and is_sendable(int(code)):
        # PHP sends UTF-8.
        return Close(int(code), reason.strip().encode("latin-1").decode("utf-8", "replace"))
    warnings.append(f"Wsgate-Close: {value[:80]!r} has no valid close code; closed 1000")
    return Close(1000, "")


def _subscribe(found: Actions, value: str, warnings: list[str]) -> Actions:
    channels, recovers = _channels("Wsgate-Subscribe", value, "recover", warnings)
    more = tuple(Subscribe(channel, recovers) for channel in channels)
    return found._replace(subscribe=found.subscribe + more)


def _unsubscribe(found: Actions, value: str, warnings: list[str]) -> Actions:
    channels, _ = _channels("Wsgate-Unsubscribe", value, None, warnings)
    return found._replace(unsubscribe=found.unsubscribe + channels)


def _publish(found: Actions, value: str, warnings: list[str]) -> Actions:
    channels, except_self = _channels("Wsgate-Publish", value, "except-self", warnings)
    # One without any valid channel still keeps the body from the sender, for whom it is not.
    return found._replace(publish=(*found.publish, Publish(channels, except_self)))


def _user(found: Actions, value: str, warnings: list[str]) -> Actions:
    try:
        user = _text(value)
        return found._replace(user=check_user(user) if user else "")
    except ChannelError as error:
        warnings.append(f"Wsgate-User: {error}; the user stays as it was")
    except UnicodeDecodeError:
        warnings.append(f"Wsgate-User: {value[:80]!r} is not UTF-8; the user stays as it was")
    return found


_VARIABLE = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}")


def _set(found: Actions, value: str, warnings: list[str]) -> Actions:
    name, equals, text = value.partition("=")
    name = name.strip()
    if not (equals and _VARIABLE.fullmatch(name)):
        warnings.append(
            f"Wsgate-Set: {value[:80]!r} is not name=value, the name a letter and up to 63 "
            "letters, digits or _; it is not kept"
        )
        return found
    try:
        text = _text(text.strip())
    except UnicodeDecodeError:
        text = "\n"
    if not (text.isprintable() or not text):
        warnings.append(
            f"Wsgate-Set: the value of {name} is not printable UTF-8; encode it (rawurlencode, "
            "base64_encode); it is not kept"
        )
        return found
    return found._replace(variables=(*found.variables, (name.upper(), text)))


_READERS: dict[str, Callable[[Actions, str, list[str]], Actions]] = {
    "wsgate-subscribe": _subscribe,
    "wsgate-unsubscribe": _unsubscribe,
    "wsgate-publish": _publish,
    "wsgate-user": _user,
    "wsgate-set": _set,
}


# -- their parts


def _channels(
    header: str, value: str, known: str | None, warnings: list[str]
) -> tuple[tuple[str, ...], bool]:
    """The valid channels of a comma list, and whether the parameter `known` is there.

    A parameter stands for the whole line, wherever it stands.
    """
    channels: list[str] = []
    is_there = False
    for item in value.split(","):
        channel, *parameters = (part.strip() for part in item.split(";"))
        if is_plain_channel(channel):
            channels.append(channel)
        else:
            warnings.append(
                f"{header}: {channel[:80]!r} is no name for a channel; write 1 to 164 letters, "
                "digits or _-=@.: and a comma between two"
            )
        for parameter in parameters:
            if known is not None and parameter.lower() == known:
                is_there = True
            else:
                says = f"only {known} is" if known is not None else "none is"
                warnings.append(f"{header}: {parameter[:80]!r} is no known parameter; {says}")
    return tuple(dict.fromkeys(channels)), is_there


def _text(value: str) -> str:
    """A header's value, which arrives as Latin-1, as the UTF-8 that PHP sends."""
    return value.encode("latin-1").decode()


def is_sendable(code: int) -> bool:
    """Whether an endpoint may send this close code: RFC 6455 §7.4 and the IANA registry."""
    return code in _SENDABLE or 3000 <= code <= 4999


_SENDABLE = frozenset({1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014})
