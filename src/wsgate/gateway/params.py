"""The PARAMS of one message's request, put together from what is encoded already. Pure."""

from __future__ import annotations

from wsgate.compiled import compiled
from wsgate.fastcgi import encode_pair, encode_pairs_record


@compiled
def request_params(
    route: bytes, connection: bytes, kind: bytes, connection_id: str, number: int, size: int, /
) -> bytes:
    """All PARAMS records of the request for one message.

    Args:
        route: the records of `Route.params`.
        connection: the records of `Route.connection_params`.
        kind: the pairs of `Route.kind_of_message`.
        connection_id: as in `WSGATE_CONNECTION_ID`.
        number: of the message on its connection, from 1.
        size: of the message, in bytes.
    """
    record = encode_pairs_record(
        kind
        + encode_pair(b"CONTENT_LENGTH", b"%d" % size)
        + encode_pair(b"WSGATE_MESSAGE_ID", f"{connection_id}:{number}".encode())
    )
    return b"".join((route, connection, record))
