"""One FastCGI connection seen from the web server: requests go out, answers come in. Sans-IO."""

from __future__ import annotations

from enum import Enum, auto
from struct import Struct
from typing import NamedTuple, NoReturn

from wsgate.fastcgi.errors import (
    ApplicationOverloaded,
    FastCGIError,
    ProtocolError,
    ResponseCutOff,
    ResponseNeverReceived,
    ResponseTimeout,
    ResponseTooLarge,
    StreamStopped,
)
from wsgate.fastcgi.records import (
    REQUEST_ID,
    Flag,
    ProtocolStatus,
    Record,
    RecordDecoder,
    RecordType,
    Role,
    encode_record,
    encode_request,
    stream_parts,
    whole_answer,
)
from wsgate.fastcgi.sink import Sink, Streaming
from wsgate.utf8 import TextCheck

MAX_STDERR = 8 * 1024
"""Bytes of STDERR kept of each answer. The first ones, since they name the cause."""

LONG_ANSWER = 256 * 1024
"""Bytes of STDOUT above which UTF-8 is looked at as it comes, not when all is there."""

# FastCGI 1.0 §5.1: role, flags, five reserved bytes.
_BEGIN_BODY = Struct("!HB5x")
_BEGIN_CLOSE = encode_record(RecordType.BEGIN_REQUEST, _BEGIN_BODY.pack(Role.RESPONDER, 0))
_BEGIN_KEEP = encode_record(
    RecordType.BEGIN_REQUEST, _BEGIN_BODY.pack(Role.RESPONDER, Flag.KEEP_CONN)
)
_END_PARAMS = encode_record(RecordType.PARAMS)
# FastCGI 1.0 §5.5: application status, protocol status, three reserved bytes.
_END_BODY = Struct("!IB3x")

# Plain numbers: looking up a member of an enum costs more than reading a record.
_STDIN = RecordType.STDIN.value
_STDOUT = RecordType.STDOUT.value
_STDERR = RecordType.STDERR.value
_END_REQUEST = RecordType.END_REQUEST.value


class Request(NamedTuple):
    """What the application is asked.

    `params` is one or more results of `encode_params`, concatenated; `stdin` the whole body.
    """

    params: bytes
    stdin: bytes | bytearray

    def __repr__(self) -> str:
        return f"<Request: {len(self.params)} bytes of params, {len(self.stdin)} of stdin>"


class Response(NamedTuple):
    """A complete answer: all of STDOUT, the first 8 KiB of STDERR, the exit status (0 to 2³²-1).

    `is_utf8` is True where STDOUT is long and known to be valid UTF-8. False says nothing.
    Of a stream, `stdout` is only what came before it was known to be one.
    """

    stdout: bytes | bytearray
    stderr: bytes
    app_status: int
    is_utf8: bool = False

    def __repr__(self) -> str:
        return (
            f"<Response: {len(self.stdout)} bytes of stdout, "
            f"{len(self.stderr)} of stderr, status {self.app_status}>"
        )


# The class itself would build the tuple in Python.
_new_response = tuple.__new__


class ConnectionState(Enum):
    """Where a connection is in its life; `ResponderConnection` tells what each means."""

    IDLE = auto()
    ACTIVE = auto()
    CLOSED = auto()
    FAILED = auto()


_IDLE = ConnectionState.IDLE
_ACTIVE = ConnectionState.ACTIVE
_CLOSED = ConnectionState.CLOSED
_FAILED = ConnectionState.FAILED


class ResponderConnection:
    """Asks one application, in the role of a Responder (FastCGI 1.0 §6.2), one request at a time.

    States:

    IDLE    nothing is under way. `send_request` leads to ACTIVE; a byte from the application to
            FAILED; the end of the connection to CLOSED.
    ACTIVE  a request was sent. A good END_REQUEST leads back to IDLE if the connection is to be
            kept and nothing follows it, else to CLOSED; anything wrong, and the end of the
            connection, to FAILED.
    CLOSED  the connection is over, in good order. Only `receive_eof` is still legal.
    FAILED  the connection is over: something broke it. Only `receive_eof` is still legal.

    Only END_REQUEST proves an answer; PHP does not end STDOUT by an empty record, and a connection
    that ends may be a killed worker. At most `max_answer_size` bytes of STDOUT, `MAX_STDERR` bytes
    of STDERR and one incomplete record are kept in memory; a `Sink` gets STDOUT as it comes.
    """

    __slots__ = (
        "_decoder",
        "_keep_connection",
        "_max_answer_size",
        "_received",
        "_stderr",
        "_stdout",
        "_text",
        "_undecided",
        "sink",
        "state",
        "surplus",
    )

    def __init__(self, max_answer_size: int) -> None:
        self.state = _IDLE
        self.surplus = False
        """Whether bytes followed an END_REQUEST: the answer is good, the connection is not."""
        self._max_answer_size = max_answer_size
        self._decoder = RecordDecoder()
        self._keep_connection = False
        self._received = False
        self._stdout = bytearray()
        self._stderr = bytearray()
        self._text: TextCheck | None = None
        self.sink: Sink | None = None
        """Who takes the answer under way as a stream."""
        self._undecided = True

    def send_request(self, request: Request, keep_connection: bool) -> bytes:
        """As `request_parts`, joined."""
        return encode_request(self._begin(keep_connection), request[0], request[1])

    def request_parts(
        self, request: Request, keep_connection: bool
    ) -> tuple[bytes | memoryview, ...]:
        """The bytes that make the request, to be sent whole. RuntimeError unless IDLE.

        A long body comes as views of it, so that it need not be copied at all.
        With `keep_connection` the application is asked to leave the connection open after its
        answer (FCGI_KEEP_CONN, FastCGI 1.0 §5.1).
        """
        return (
            self._begin(keep_connection),
            request.params,
            _END_PARAMS,
            *stream_parts(_STDIN, request.stdin),
        )

    def _begin(self, keep_connection: bool) -> bytes:
        if self.state is not _IDLE:
            raise RuntimeError(f"a request on a connection that is {self.state.name}")
        self.state = _ACTIVE
        self._keep_connection = keep_connection
        self._received = False
        return _BEGIN_KEEP if keep_connection else _BEGIN_CLOSE

    def receive_data(self, data: bytes, turn: object = None) -> Response | None:
        """Take what arrived; the answer if it is now complete.

        `turn` may have a method `streaming` (`wsgate.fastcgi.sink`), to make a stream of it.
        Raises ProtocolError, ApplicationOverloaded, ResponseTooLarge or StreamStopped; the
        connection is then FAILED and to be closed.
        """
        if self.state is not _ACTIVE:
            self._fail(ProtocolError(f"{len(data)} bytes that answer no request"))
        if not self._received:
            # Nearly every answer is one chunk of one STDOUT record and a good END_REQUEST.
            stdout = whole_answer(data, self._max_answer_size)
            if stdout is not None:
                self.state = _IDLE if self._keep_connection else _CLOSED
                return _new_response(Response, (stdout, b"", 0, False))
            self._received = bool(data)
        return self._receive_records(data, turn)

    def receive_eof(self) -> None:
        """Note that the application closed the connection.

        Raises ResponseNeverReceived or ResponseCutOff if a request was under way.
        """
        if self.state is _IDLE:
            self.state = _CLOSED
        elif self.state is _ACTIVE:
            if self._received:
                self._fail(ResponseCutOff(f"the connection ended after {self._progress()}"))
            self._fail(ResponseNeverReceived("the connection ended before the first byte back"))

    @property
    def stderr(self) -> bytes:
        """What came of STDERR so far, for a request under way."""
        return bytes(self._stderr)

    def time_out(self) -> ResponseTimeout:
        """Give up waiting for the answer; the error that says so. The connection is then FAILED."""
        self.state = _FAILED
        return ResponseTimeout(
            f"no END_REQUEST in time; so far {self._progress()}", stderr=bytes(self._stderr)
        )

    def _progress(self) -> str:
        if self.sink is not None:
            return "a stream without END_REQUEST"
        return f"{len(self._stdout)} bytes of STDOUT without END_REQUEST"

    def _receive_records(self, data: bytes, turn: object) -> Response | None:
        decoder = self._decoder
        try:
            records = decoder.feed(data)
        except ProtocolError as error:
            self._fail(error)
        for index, record in enumerate(records, 1):
            if record.request_id != REQUEST_ID:
                self._fail(ProtocolError(f"a record of no request of ours: {record}"))
            type = record.type
            if type == _STDOUT:
                self._stdout_received(record.content, turn)
            elif type == _STDERR:
                self._stderr += record.content[: MAX_STDERR - len(self._stderr)]
            elif type == _END_REQUEST:
                surplus = index < len(records) or decoder.pending or decoder.violation
                return self._request_ended(record, bool(surplus))
            else:
                self._fail(ProtocolError(f"a record that no application may send: {record}"))
        if decoder.violation is not None:
            self._fail(decoder.violation)
        return None

    def _stdout_received(self, content: bytes, turn: object) -> None:
        if self.sink is not None:
            self._feed(self.sink, content)
            return
        self._collect(content)
        if self._undecided:
            self._decide(getattr(turn, "streaming", None))

    def _feed(self, sink: Sink, content: bytes) -> None:
        try:
            sink.feed(content)
        except StreamStopped as error:
            self._fail(error)

    def _decide(self, streaming: Streaming | None) -> None:
        """Ask whether what is collected is the beginning of a stream."""
        try:
            sink = streaming(self._stdout) if streaming is not None else False
        except StreamStopped as error:
            self._fail(error)
        self._undecided = sink is None
        self.sink = sink or None

    def _collect(self, content: bytes) -> None:
        stdout = self._stdout
        if len(stdout) + len(content) > self._max_answer_size:
            self._fail(ResponseTooLarge(f"the answer exceeds {self._max_answer_size} bytes"))
        stdout += content
        if len(stdout) > LONG_ANSWER:
            if self._text is None:
                self._text = TextCheck()
                content = bytes(stdout)
            self._text.feed(content)

    def _request_ended(self, record: Record, surplus: bool) -> Response:
        if len(record.content) != _END_BODY.size:
            self._fail(ProtocolError(f"a malformed record: {record}"))
        app_status, protocol_status = _END_BODY.unpack(record.content)
        if protocol_status != ProtocolStatus.REQUEST_COMPLETE:
            self._fail(_refusal(protocol_status))
        self.surplus = surplus
        self.state = _IDLE if self._keep_connection and not surplus else _CLOSED
        is_utf8 = self._text is not None and self._text.is_whole
        response = Response(self._stdout, bytes(self._stderr), app_status, is_utf8)
        # A long answer is handed over as it is, not copied.
        self._stdout = bytearray()
        self._stderr.clear()
        self._text = None
        self.sink = None
        self._undecided = True
        return response

    def _fail(self, error: FastCGIError) -> NoReturn:
        self.state = _FAILED
        error.stderr = bytes(self._stderr)
        raise error


def _refusal(protocol_status: int) -> FastCGIError:
    """The error for an END_REQUEST that is no answer (FastCGI 1.0 §5.5)."""
    if protocol_status in (ProtocolStatus.OVERLOADED, ProtocolStatus.CANT_MPX_CONN):
        name = ProtocolStatus(protocol_status).name
        return ApplicationOverloaded(f"the application did not take the request: {name}")
    if protocol_status == ProtocolStatus.UNKNOWN_ROLE:
        return ProtocolError("the application is no Responder: UNKNOWN_ROLE")
    return ProtocolError(f"END_REQUEST with unknown protocol status {protocol_status}")
