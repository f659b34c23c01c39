"""Why a request has no answer.

The type says how far we got, because that alone decides whether the same request may be made again:

    FastCGIError
     ├─ NotSent                  not one byte left this process; the application did not run
     │   ├─ BackendUnavailable   every backend refused, has no socket, or did not accept in time
     │   │   └─ CircuitOpen      or none was tried, since all have failed too often lately
     │   ├─ BackendBusy          a backend is there, but its queue of connections stayed full
     │   ├─ QueueFull            as many requests wait as may
     │   ├─ QueueTimeout         it waited for its turn as long as it may
     │   └─ PoolStopped          the pool takes no more requests
     ├─ ApplicationOverloaded    the application said that it did not take the request
     ├─ ProtocolError            it sent what FastCGI 1.0 does not allow; it may have run
     ├─ RequestTimeout           it stopped taking a long request; it may run, with a part of it
     ├─ ResponseNeverReceived    sent, then the connection ended, nothing back; it may have run
     ├─ ResponseCutOff           the connection ended before END_REQUEST; it ran
     ├─ ResponseTooLarge         the answer is larger than we take; it ran
     ├─ ResponseTimeout          no END_REQUEST in time; it may have run, and may still be running
     └─ StreamStopped            we wanted no more of a stream; it ran, and may still be running
         ├─ StreamsFull          as many streams as may be were open when it began one
         └─ StreamTimeout        the stream lasted longer than it may
"""

from __future__ import annotations

__all__ = [
    "ApplicationOverloaded",
    "BackendBusy",
    "BackendUnavailable",
    "CircuitOpen",
    "FastCGIError",
    "NotSent",
    "PoolStopped",
    "ProtocolError",
    "QueueFull",
    "QueueTimeout",
    "RequestTimeout",
    "ResponseCutOff",
    "ResponseNeverReceived",
    "ResponseTimeout",
    "ResponseTooLarge",
    "StreamStopped",
    "StreamTimeout",
    "StreamsFull",
]


class FastCGIError(Exception):
    """A request that has no answer.

    `str()` is one line for the log. `stderr` is what the application had written to STDERR by
    then, raw and at most 8 KiB. `backend` is the name of the backend, empty where none was chosen.
    """

    def __init__(self, text: str, *, stderr: bytes = b"", backend: str = "") -> None:
        super().__init__(text)
        self.stderr = stderr
        self.backend = backend


class NotSent(FastCGIError):
    """Not one byte of the request was sent, so the application did not run."""


class BackendUnavailable(NotSent):
    """No backend could be connected to: refused, no such socket, or too slow to accept."""


class CircuitOpen(BackendUnavailable):
    """No backend was even tried: all have failed too often, and it is not yet time for a probe."""


class BackendBusy(NotSent):
    """A backend listens, but its queue of new connections (a UNIX backlog) stayed full."""


class QueueFull(NotSent):
    """As many requests wait for a connection as the pool allows."""


class QueueTimeout(NotSent):
    """The request waited for a connection as long as the pool allows."""


class PoolStopped(NotSent):
    """The pool was stopped and takes no requests."""


class ApplicationOverloaded(FastCGIError):
    """FCGI_OVERLOADED or FCGI_CANT_MPX_CONN: the application did not take the request."""


class ProtocolError(FastCGIError):
    """The application sent something FastCGI 1.0 does not allow. It may have run."""


class RequestTimeout(FastCGIError):
    """The application took nothing more of a request for the pool's `write_timeout`.

    It may run, with the part of the body that it has got: CONTENT_LENGTH tells it so.
    """


class ResponseNeverReceived(FastCGIError):
    """The request was sent and the connection ended with no byte back. It may have run."""


class ResponseCutOff(FastCGIError):
    """The connection ended after some bytes of the answer and before END_REQUEST."""


class ResponseTooLarge(FastCGIError):
    """STDOUT is longer than the pool's `max_answer_size`. The application ran."""


class ResponseTimeout(FastCGIError):
    """No END_REQUEST within the pool's `response_timeout`. The application may still be running."""


class StreamStopped(FastCGIError):
    """An answer was taken as a stream, and no more of it is wanted.

    The application ran, and runs until it next says something.
    """


class StreamsFull(StreamStopped):
    """The answer turned out to be a stream while as many as the pool allows were open."""


class StreamTimeout(StreamStopped):
    """The stream lasted as long as its taker allows."""
