"""The control interface that the settings ask for."""

from __future__ import annotations

import re
from typing import Any

from wsgate import tls
from wsgate.config import Gateway
from wsgate.config.checks import is_unix_endpoint
from wsgate.control.factory import ControlLimits
from wsgate.control.service import ControlledService, Served
from wsgate.control.token import read_token


def controlled(reactor: Any, asked: Gateway, served: Served) -> ControlledService | None:
    """`served` with the control interface of `--control`; None if there is to be none.

    Raises:
        TokenError: the token cannot be read.
        tls.TLSError: the endpoint cannot.
    """
    if asked.control is None:
        return None
    # Without one it is a UNIX socket, and its permissions decide.
    token = None if asked.control_token_file is None else read_token(asked.control_token_file)
    try:
        endpoint = tls.server_endpoint(reactor, with_defaults(asked.control), None)
    except tls.TLSError as error:
        raise tls.TLSError(str(error).replace("--port ", "--control ", 1)) from None
    return ControlledService(
        reactor,
        served,
        asked.control,
        endpoint,
        token,
        ControlLimits(
            asked.control_max_body, asked.control_max_connections, asked.control_time_per_turn
        ),
        late=is_unix_endpoint(asked.control),
    )


BACKLOG = 1024
"""Connections that wait in the kernel: all workers of a large PHP-FPM may push in one moment."""


def with_defaults(description: str) -> str:
    """The endpoint string with the mode and the backlog that a control port has by default.

    The mode of a UNIX socket is 660; Twisted's own is 666, which lets every user of the machine in.
    """
    kind, *arguments = re.split(r"(?<!\\):", description)
    if kind.lower() not in ("tcp", "unix"):
        return description
    places = len([a for a in arguments if "=" not in a])
    names = {a.partition("=")[0] for a in arguments if "=" in a}
    if kind.lower() == "unix" and places < 2 and "mode" not in names:
        description += ":mode=660"
    if places < 3 and "backlog" not in names:
        description += f":backlog={BACKLOG}"
    return description
