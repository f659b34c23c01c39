"""What became of connections, as plain numbers since the start. Pure."""

from __future__ import annotations

from collections import Counter

LIMITS = (
    "max_message_size",
    "max_frame_size",
    "max_fragments",
    "max_header_bytes",
    "max_header_lines",
    "max_connections",
    "max_connections_per_address",
    "new_connections_per_address",
    "max_handshakes",
    "messages_per_second",
    "pusher_messages_per_second",
    "control_frames_per_second",
    "queue_per_connection",
    "queue_bytes_per_connection",
    "handshake_timeout",
    "pong_timeout",
    "close_timeout",
    "send_high_water",
    "send_timeout",
    "push_buffer",
    "channels_per_connection",
    "max_channels",
    "channel_history_bytes",
    "publish_backlog",
    "variables_per_connection",
    "variable_bytes_per_connection",
    "idle_timeout",
    "max_connection_age",
    "stream_timeout",
    "stream_messages",
    "stream_bytes",
    "hook_timeout",
    "hook_param_bytes",
)
"""The settings of `[limits]` whose hits are counted, whether or not any was hit yet."""

DROPS = (
    "close timeout",
    "gave way",
    "handshake timeout",
    "no pong",
    "takes no data",
    "turned away",
)
"""Why wsgate ends connections without a closing handshake.

"gave way": to a newer handshake; "turned away": without a place, and without an answer.
"""


class Counts:
    """Counters of one factory. All keys are wsgate's own words, never a client's text.

    Attributes:
        accepted: handshakes answered with 101.
        refused: handshakes answered otherwise, by HTTP status.
        closes: closing handshakes that wsgate began, by `code_label` of their code.
        drops: connections ended without one, by cause (`DROPS`).
        limits: how often a limit took effect, by the name of its setting (`LIMITS`).
    """

    __slots__ = ("accepted", "closes", "drops", "limits", "refused")

    def __init__(self) -> None:
        self.accepted = 0
        self.refused: Counter[int] = Counter()
        self.closes: Counter[str] = Counter()
        self.drops: Counter[str] = Counter(dict.fromkeys(DROPS, 0))
        self.limits: Counter[str] = Counter(dict.fromkeys(LIMITS, 0))

    def flat(self) -> dict[tuple[str, str], int]:
        """All of them as {(attribute, key): count}; the key of `accepted` is empty.

        Such dicts of several processes are added up key by key.
        """
        flat = {("accepted", ""): self.accepted}
        for name in ("refused", "closes", "drops", "limits"):
            counter: Counter[int | str] = getattr(self, name)
            flat.update({(name, str(key)): count for key, count in counter.items()})
        return flat


def code_label(code: int | None) -> str:
    """The label of a close code: itself, but one for all that applications choose (3000 to 4999).

    None, a close frame without a code, is 1005 as in RFC 6455 §7.1.5.
    """
    if code is None:
        return "1005"
    return str(code) if code < 3000 else "3000-4999"
