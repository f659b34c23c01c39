"""A WebSocket client that shows each frame as it is on the wire."""

import os
import socket
import ssl
import struct
from typing import NamedTuple


class Frame(NamedTuple):
    """A frame as it came: `is_masked` is never true of a server's."""

    is_final: bool
    opcode: int
    payload: bytes
    is_masked: bool
    rsv: int


class RawClient:
    """Connects and shakes hands at once; `head` is the server's answer.

    `extra` are header lines without line ends. AssertionError for any answer but `status`.
    """

    def __init__(
        self,
        port: int,
        path: str | bytes = "/",
        *,
        extra: tuple[bytes, ...] = (),
        status: int = 101,
        tls: ssl.SSLContext | None = None,
        unix: str | None = None,
    ) -> None:
        if unix is not None:
            self.socket = socket.socket(socket.AF_UNIX)
            self.socket.connect(unix)
        else:
            self.socket = socket.create_connection(("127.0.0.1", port), 30)
        self.socket.settimeout(30)
        if tls is not None:
            self.socket = tls.wrap_socket(self.socket, server_hostname="localhost")
        self.buffer = b""
        target = path.encode() if isinstance(path, str) else path
        lines = [
            b"GET " + target + b" HTTP/1.1",
            b"Host: localhost:%d" % port,
            b"Upgrade: websocket",
            b"Connection: Upgrade",
            b"Sec-WebSocket-Version: 13",
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
            *extra,
        ]
        self.socket.sendall(b"\r\n".join(lines) + b"\r\n\r\n")
        while b"\r\n\r\n" not in self.buffer:
            data = self.socket.recv(65536)
            if not data:
                break
            self.buffer += data
        self.head, _, self.buffer = self.buffer.partition(b"\r\n\r\n")
        assert self.head.startswith(b"HTTP/1.1 %d " % status), self.head

    def __enter__(self) -> "RawClient":
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def reset(self) -> None:
        """End the connection with a TCP reset."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def frame(self, opcode: int, payload: bytes = b"", *, fin: bool = True) -> bytes:
        """A masked frame."""
        size = len(payload)
        if size < 126:
            length = bytes((0x80 | size,))
        elif size < 0x10000:
            length = bytes((0x80 | 126,)) + struct.pack(">H", size)
        else:
            length = bytes((0x80 | 127,)) + struct.pack(">Q", size)
        mask = os.urandom(4)
        number = int.from_bytes(payload, "big") ^ int.from_bytes(
            (mask * (size // 4 + 1))[:size], "big"
        )
        return bytes((opcode | 0x80 * fin,)) + length + mask + number.to_bytes(size, "big")

    def send_message(
        self, payload: bytes, is_text: bool = True, fragment_size: int | None = None
    ) -> None:
        """Send a message, in frames of at most `fragment_size` bytes."""
        step = fragment_size or max(len(payload), 1)
        frames = []
        for start in range(0, max(len(payload), 1), step):
            opcode = (1 if is_text else 2) if start == 0 else 0
            piece = payload[start : start + step]
            frames.append(self.frame(opcode, piece, fin=start + step >= len(payload)))
        self.socket.sendall(b"".join(frames))

    def _read(self, size: int) -> bytes:
        if len(self.buffer) < size:
            pieces, have = [self.buffer], len(self.buffer)
            while have < size:
                data = self.socket.recv(2**20)
                assert data, "the server ended the connection in a frame"
                pieces.append(data)
                have += len(data)
            self.buffer = b"".join(pieces)
        data, self.buffer = self.buffer[:size], self.buffer[size:]
        return data

    def receive_frame(self) -> Frame:
        """The next frame."""
        first, second = self._read(2)
        size = second & 0x7F
        if size == 126:
            (size,) = struct.unpack(">H", self._read(2))
        elif size == 127:
            (size,) = struct.unpack(">Q", self._read(8))
        return Frame(
            bool(first & 0x80), first & 15, self._read(size), bool(second & 0x80), first >> 4 & 7
        )

    def receive_frames(self) -> list[Frame]:
        """The frames of the next message; pings are passed over."""
        frames: list[Frame] = []
        while not frames or not frames[-1].is_final:
            frame = self.receive_frame()
            assert not frame.is_masked, "a server never masks"
            assert not frame.rsv, "no extension was agreed on"
            assert frame.opcode != 8, f"closed: {frame.payload!r}"
            if frame.opcode < 8:
                frames.append(frame)
        return frames

    def receive_message(self) -> bytes:
        """The next message."""
        return b"".join(frame.payload for frame in self.receive_frames())

    def is_ended(self) -> bool:
        """Whether the server ends the connection, within 30 seconds; what comes before is read."""
        try:
            while self.socket.recv(65536):
                pass
        except ConnectionResetError:
            pass
        except TimeoutError:
            return False
        return True
