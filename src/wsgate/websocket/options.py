"""The limits of the WebSocket side, as plain values."""

from __future__ import annotations

from dataclasses import dataclass, field

from wsgate.channels import ChannelLimits
from wsgate.gateway import QueueLimits


@dataclass(frozen=True, slots=True, kw_only=True)
class WebSocketOptions:
    """Sizes in bytes, times in seconds; 0 means none for the pings and the connections."""

    max_message_size: int = 2**20
    max_frame_size: int = 2**20
    max_fragments: int = 1024
    fragment_size: int = 64 * 1024
    max_header_bytes: int = 16 * 1024
    max_header_lines: int = 64
    max_connections: int = 10_000
    max_connections_per_address: int = 200
    new_connections_per_address: int = 20
    max_handshakes: int = 1024
    messages_per_second: int = 0
    pusher_messages_per_second: int = 50
    control_frames_per_second: int = 20
    queue: QueueLimits = field(default_factory=QueueLimits)
    handshake_timeout: float = 10.0
    ping_interval: float = 25.0
    pong_timeout: float = 20.0
    close_timeout: float = 5.0
    send_high_water: int = 256 * 1024
    send_timeout: float = 30.0
    push_buffer: int = 2**20
    channels: ChannelLimits = field(default_factory=ChannelLimits)
    idle_timeout: float = 0.0
    max_connection_age: float = 0.0
    compression: bool = False
