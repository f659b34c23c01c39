"""What is measured: the rows of the table."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

Kind = Literal["messages", "handshakes", "idle", "beside", "turns", "fanout"]


@dataclass(frozen=True)
class Row:
    """One kind of work.

    messages: `clients` that send `size` bytes each, wait for the answer, and send again.
    handshakes: open, 101, close and its answer, `clients` at a time.
    idle: memory of `clients` connections that have sent one message: what the second half adds.
    beside: 32 clients that pause 0.1 s between messages, beside `clients` of `size` without pause.
    fanout: one message after the other to `clients` subscribers, each when all have the last.
    turns: as beside, with a meter on the turns of the gateway's reactor.

    Gateways run as `variant`; those that have none of that name have no cell. Nor have those with a
    connection to PHP for each request where `kept_only`: there they are what the others are.
    """

    name: str
    title: str
    kind: Kind
    clients: int
    size: int = 64
    tls: bool = False
    group: str = "small"
    in_quick: bool = True
    quick_clients: int = 0
    slower: int = 1
    kept_only: bool = False
    variant: str = ""
    filler: str = "x"
    same: bool = False
    """Whether all messages are one and the same."""
    past: bool = False
    """Whether the busy one goes past the gateway, straight to a PHP-FPM of its own."""
    rounds: int = 1000
    """At most so many, for what is slow and hardly varies."""

    @property
    def in_bytes(self) -> bool:
        """Whether the figure that counts is MB/s."""
        return self.kind == "messages" and self.size > 64

    def is_for(self, variants: Collection[str], once: bool) -> bool:
        """Whether a gateway with these variants has a cell in this row."""
        return self.variant in variants and not (once and self.kept_only)


ROWS = (
    Row("64B-1", "64 bytes, 1 connection", "messages", 1, in_quick=False),
    Row("64B-32", "64 bytes, 32 connections", "messages", 32),
    Row("64B-1000", "64 bytes, 1,000 connections", "messages", 1000),
    Row(
        *("64B-10000", "64 bytes, 10,000 connections", "messages", 10000),
        in_quick=False,
        slower=2,
        kept_only=True,
    ),
    Row("4KiB", "4 KiB, 32 connections", "messages", 32, 4096, group="large", in_quick=False),
    Row("64KiB", "64 KiB, 32 connections", "messages", 32, 65536, group="large", in_quick=False),
    Row("1MiB", "1 MiB, 8 connections", "messages", 8, 2**20, group="large"),
    Row(
        *("echo", "echo without PHP, 64 bytes, 32 connections", "messages", 32),
        group="echo",
        variant="echo",
        kept_only=True,
    ),
    Row(
        *("same", "the same 64 bytes through PHP, 32 connections", "messages", 32),
        group="same",
        variant="same",
        kept_only=True,
        same=True,
    ),
    Row(
        *("cached", "the same 64 bytes as cached answers, 32 connections", "messages", 32),
        group="cached",
        variant="cached",
        kept_only=True,
        same=True,
    ),
    Row(
        *("handshakes", "handshakes, plain", "handshakes", 32),
        group="handshakes",
        kept_only=True,
    ),
    Row(
        *("handshakes-tls", "handshakes, TLS", "handshakes", 32),
        tls=True,
        group="handshakes",
        kept_only=True,
    ),
    Row(
        *("idle", "memory per idle connection, plain", "idle", 10000),
        group="idle",
        quick_clients=2000,
        kept_only=True,
        rounds=3,
    ),
    Row(
        *("idle-tls", "memory per idle connection, TLS", "idle", 10000),
        tls=True,
        group="idle-tls",
        quick_clients=1000,
        kept_only=True,
        rounds=3,
    ),
    Row(
        *("quiet", "32 calm clients alone", "beside", 0),
        group="tail",
        in_quick=False,
        kept_only=True,
    ),
    Row(
        *("tail", "32 calm clients beside 1,000 busy ones", "beside", 1000),
        group="tail",
        kept_only=True,
    ),
    Row(
        *("beside-16MiB", "32 calm clients beside one that moves 16 MiB", "beside", 1, 2**24),
        group="tail",
        in_quick=False,
        kept_only=True,
    ),
    Row(
        *("beside-past", "32 calm clients while 16 MiB go past the gateway", "beside", 1, 2**24),
        group="tail",
        in_quick=False,
        kept_only=True,
        past=True,
    ),
    Row(
        *("turns-16MiB", "turns of wsgate's reactor while one client moves 16 MiB", "turns", 1),
        size=2**24,
        group="turns",
        in_quick=False,
        variant="turns",
        kept_only=True,
        filler="é",
        rounds=3,
    ),
    Row(
        *("fanout", "one message of 64 bytes to 10,000 subscribers", "fanout", 10000),
        group="fanout",
        in_quick=False,
        quick_clients=2000,
        variant="fanout",
        kept_only=True,
        rounds=3,
    ),
)
CALM_CLIENTS = 32
CALM_PAUSE = 0.1
