"""The client side of FastCGI 1.0 in the role of a Responder's web server.

`encode_params` makes a `Request`; a `ConnectionPool` sends it over one of its `Backend`s, and its
Deferred fires with a `Response` or one of the errors. Only END_REQUEST proves an answer, and no
request is sent twice: an error says how far it got, see `wsgate.fastcgi.errors`.

Inside, data walks one way: `params` and `records` make and read bytes, `connection` gives them
meaning (these three know no Twisted), `protocol` ties a connection to a transport, `connects`
makes it, and `pool` decides which request goes out when and where.
"""

from wsgate.fastcgi.backend import Backend
from wsgate.fastcgi.breaker import BreakerRules
from wsgate.fastcgi.connection import Request, Response
from wsgate.fastcgi.errors import (
    ApplicationOverloaded,
    BackendBusy,
    BackendUnavailable,
    CircuitOpen,
    FastCGIError,
    NotSent,
    PoolStopped,
    ProtocolError,
    QueueFull,
    QueueTimeout,
    RequestTimeout,
    ResponseCutOff,
    ResponseNeverReceived,
    ResponseTimeout,
    ResponseTooLarge,
    StreamsFull,
    StreamStopped,
    StreamTimeout,
)
from wsgate.fastcgi.limits import PoolLimits
from wsgate.fastcgi.params import (
    decode_params,
    encode_pair,
    encode_pairs_record,
    encode_params,
)
from wsgate.fastcgi.pool import ConnectionPool
from wsgate.fastcgi.sink import Flow, Sink
from wsgate.fastcgi.unix import UNIXEndpoint
from wsgate.fastcgi.unsent import Lane, Turn, Unsent

__all__ = [
    "ApplicationOverloaded",
    "Backend",
    "BackendBusy",
    "BackendUnavailable",
    "BreakerRules",
    "CircuitOpen",
    "ConnectionPool",
    "FastCGIError",
    "Flow",
    "Lane",
    "NotSent",
    "PoolLimits",
    "PoolStopped",
    "ProtocolError",
    "QueueFull",
    "QueueTimeout",
    "Request",
    "RequestTimeout",
    "Response",
    "ResponseCutOff",
    "ResponseNeverReceived",
    "ResponseTimeout",
    "ResponseTooLarge",
    "Sink",
    "StreamStopped",
    "StreamTimeout",
    "StreamsFull",
    "Turn",
    "UNIXEndpoint",
    "Unsent",
    "decode_params",
    "encode_pair",
    "encode_pairs_record",
    "encode_params",
]
