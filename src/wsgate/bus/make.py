"""The bus that the settings ask for, and the channels over it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

from twisted.internet.interfaces import IReactorTime

from wsgate.bus.exchange import Keeping
from wsgate.bus.interface import Bus
from wsgate.bus.limits import BusLimits
from wsgate.bus.shared import SharedChannels
from wsgate.channels import BusError, ChannelLimits, Channels
from wsgate.config import Limits, Settings
from wsgate.redis import parse, require

MakeChannels = Callable[[IReactorTime, ChannelLimits, Counter[str]], Channels]


def make_bus(reactor: Any, asked: Settings) -> Bus | None:
    """The Redis of `gateway.bus`; None if there is to be none. It connects when it is started.

    Raises:
        RedisMissing: the client is not installed.
        BusError: the file of certificates in the URL cannot be used.
    """
    if asked.gateway.bus is None:
        return None
    address = parse(asked.gateway.bus)
    require(f"--bus {address}")
    # Only here: it needs what only `wsgate[redis]` installs.
    from wsgate.bus.redis import RedisBus

    try:
        return RedisBus(reactor, address, asked.gateway.bus_prefix, bus_limits(asked))
    except OSError as error:
        raise BusError(f"--bus {address}: {error.filename}: {error.strerror}") from None
    except ValueError as error:
        raise BusError(f"--bus {address}: {error}") from None


def bus_limits(asked: Settings) -> BusLimits:
    """What the settings say of a bus."""
    limits = asked.limits
    return BusLimits(
        history=limits.channel_history,
        history_age=limits.channel_history_age,
        lease=asked.gateway.bus_lease,
        buffer=limits.bus_buffer,
    )


def keeping(limits: Limits) -> Keeping:
    """How much of the past the parent of workers keeps."""
    return Keeping(limits.channel_history, limits.channel_history_age, limits.channel_history_bytes)


def channels_over(bus: Bus | None) -> MakeChannels:
    """Makes channels over `bus`, or of this process alone."""
    return Channels if bus is None else partial(_shared, bus)


def _shared(
    bus: Bus, clock: IReactorTime, limits: ChannelLimits, hits: Counter[str]
) -> SharedChannels:
    return SharedChannels(clock, limits, hits, bus)
