"""How long an answer may be given again, and to whom. Pure.

The rules are those of a shared cache in HTTP: RFC 9111, and RFC 5861 for answers past their time.
What cannot be read, or is said twice in two ways, forbids.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from wsgate.hooks.hook import Answer, Headers


class Terms(NamedTuple):
    """On which terms an answer may be given again.

    Seconds, counted from when PHP was asked: it is fresh before `fresh`. After that it may be given
    before `revalidating` while PHP is asked anew, and before `failing` where PHP fails; neither is
    less than `fresh`. `vary` are the names of what it depends on, in lower case and in order.
    """

    fresh: float
    revalidating: float
    failing: float
    vary: tuple[str, ...] = ()

    @property
    def end(self) -> float:
        """When it is of no use any more."""
        return max(self.revalidating, self.failing)


MOST_NAMES = 16
"""Names in Vary; an answer that depends on more is nobody else's."""


def terms_of(answer: Answer) -> Terms | None:
    """The terms of `answer`; None if it is for who asked alone.

    It may be given again with `Cache-Control: public` and `max-age` or `s-maxage`, of which the
    second wins (RFC 9111 §5.2.2.10), and the status 200 or 204 (§3; a 4xx could be cached too, but
    says more often something of who asked). `Age` counts (§4.2.3), `Date` and `Expires` do not.

    It is for who asked alone where it says `no-store`, `private` or `no-cache`, sets a cookie, or
    has any `Wsgate-*` field, be it known or not: that does something to one connection. So is a
    stream, and one that PHP has written to its log about: it may be half an answer.
    """
    if answer.status not in (200, 204) or answer.actions is not None or not answer.is_clean:
        return None
    if answer.payload is None and answer.status != 204:
        return None
    if any(name == "set-cookie" or name.startswith("wsgate-") for name, _ in answer.headers):
        return None
    said = directives(_joined(answer.headers, "cache-control"))
    vary = _vary(_joined(answer.headers, "vary"))
    if said is None or vary is None or "public" not in said or said.keys() & _FORBID:
        return None
    return _lasting(said, _age(answer.headers), vary)


_FORBID = {"no-store", "private", "no-cache"}
_ALWAYS_ASK = {"must-revalidate", "proxy-revalidate"}

_LONGEST = 2**31
"""Seconds; RFC 9111 §1.2.2: what is more may be taken for this."""


def _lasting(said: dict[str, str | None], age: float, vary: tuple[str, ...]) -> Terms | None:
    lifetime = _seconds(said, "s-maxage" if "s-maxage" in said else "max-age")
    if lifetime is None:
        return None
    # §5.2.2.2 and §5.2.2.8. That s-maxage implies the second yields to what is said outright.
    is_strict = bool(said.keys() & _ALWAYS_ASK)
    revalidating = 0.0 if is_strict else _seconds(said, "stale-while-revalidate") or 0.0
    failing = 0.0 if is_strict else _seconds(said, "stale-if-error") or 0.0
    fresh = lifetime - age
    terms = Terms(fresh, fresh + revalidating, fresh + failing, vary)
    return terms if terms.end > 0 else None


def _seconds(said: dict[str, str | None], name: str) -> float | None:
    value = said.get(name)
    if value is None or not (value.isascii() and value.isdigit()):
        return None
    return float(_LONGEST if len(value) > 10 else min(int(value), _LONGEST))


# RFC 9110 §5.6.2 and §5.6.4.
_TOKEN = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_DIRECTIVE = re.compile(
    rf'[ \t]*+(?:({_TOKEN}+)(?:=({_TOKEN}+|"(?:[^"\\]|\\.)*+"))?)?[ \t]*+(?:,|\Z)'
)


def directives(value: str) -> dict[str, str | None] | None:
    """The directives of Cache-Control by name in lower case, values without their quotes.

    None if it is not one (RFC 9111 §5.2), or says one twice in two ways (§4.2.1).
    """
    found: dict[str, str | None] = {}
    start = 0
    while start < len(value):
        match = _DIRECTIVE.match(value, start)
        if match is None:
            return None
        start = match.end()
        if match[1] is None:
            continue
        name, given = match[1].lower(), _unquoted(match[2])
        if found.setdefault(name, given) != given:
            return None
    return found


def _unquoted(value: str | None) -> str | None:
    if value is None or not value.startswith('"'):
        return value
    return re.sub(r"\\(.)", r"\1", value[1:-1])


def _joined(headers: Headers, name: str) -> str:
    """A field's lines as one (RFC 9110 §5.3)."""
    return ", ".join(value for field, value in headers if field == name)


def _age(headers: Headers) -> float:
    """How old it was when PHP gave it; RFC 9111 §5.1: the first number, or none."""
    first = _joined(headers, "age").partition(",")[0].strip(" \t")
    return _seconds({"age": first}, "age") or 0.0


_NAME = re.compile(_TOKEN)
_OURS = re.compile(r"wsgate-(?:user|var-[a-z][a-z0-9_-]{0,63}|param-[a-z][a-z0-9_-]{0,63})")
_UNSEEN = {"accept-encoding"}
"""PHP does not get these, so that no answer depends on them."""


def _vary(value: str) -> tuple[str, ...] | None:
    names = {name.strip(" \t").lower() for name in value.split(",")} - {""}
    if len(names) > MOST_NAMES or not all(is_varying(name) for name in names):
        return None
    return tuple(sorted(names - _UNSEEN))


def is_varying(name: str) -> bool:
    """Whether an answer can be kept that varies on this, in lower case: a header, or one of ours.

    Ours are Wsgate-User, Wsgate-Var-NAME and Wsgate-Param-NAME; `*` is none (RFC 9110 §12.5.5).
    """
    if name.startswith("wsgate-"):
        return _OURS.fullmatch(name) is not None
    return name != "*" and _NAME.fullmatch(name) is not None
