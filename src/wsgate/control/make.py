"""The control interface that the settings ask for."""

from __future__ import annotations

import re
from typing import Any

from wsgate import tls
from wsgate.config import Gateway
from wsgate.config.checks import is_unix_endpoint
from wsgate.control.factory import ControlLimits
from wsgate.control.service import ControlledService, MoreEndpoints, Served, no_more
from wsgate.control.token import read_token


def controlled(
    reactor: Any, asked: Gateway, served: Served, more: MoreEndpoints = no_more
) -> ControlledService | None:
    """`served` with the control interface of `--control`; None if there is to be none.

    `more` gives the endpoints of other rooms, which come after those of this one.

    Raises:
        SecretUnusable: the token cannot be read.
        tls.TLSError: the endpoint cannot.
    """
    if asked.control is None:
        return None
    # Without one it is a UNIX socket, and its permissions decide.
    token = None if asked.control_token_file is None else read_token(asked.control_token_file)
    try:
        endpoint = tls.server_endpoint(reactor, with_mode(asked.control), None)
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
        more,
        late=is_unix_endpoint(asked.control),
    )


def with_mode(description: str) -> str:
    """The endpoint string with the mode that a control socket has by default: 660.

    Twisted's own is 666, which lets every user of the machine in.
    """
    kind, *arguments = re.split(r"(?<!\\):", description)
    given = len([a for a in arguments if "=" not in a]) > 1 or any(
        a.startswith("mode=") for a in arguments
    )
    return f"{description}:mode=660" if kind.lower() == "unix" and not given else description
