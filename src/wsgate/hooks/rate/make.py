"""The hook `rate`, made as its options ask."""

from __future__ import annotations

from functools import partial

from wsgate.config.rate import RateOptions, count_and_seconds
from wsgate.hooks.rate.bucket import Buckets
from wsgate.hooks.rate.hook import Rate
from wsgate.hooks.rate.leases import Leases
from wsgate.hooks.rate.sharing import SharedTokens
from wsgate.hooks.services import Services


def make(services: Services, options: RateOptions) -> Rate:
    """The hook for one route."""
    count, seconds = count_and_seconds(options.rate)
    rate, burst = count / seconds, options.burst or count
    happened = partial(services.count, services.name)
    now = services.timeouts.seconds
    here = Buckets(rate, burst, options.max_keys, partial(happened, "forgotten"))

    def take_here(key: str) -> float:
        return here.take(key, now())

    rules = (options.by, options.of, options.close_after)
    if not (options.shared and services.channels.is_shared):
        return Rate(take_here, take_here, *rules)
    leases = Leases(f"{services.name} {services.route} ", rate, burst, options.max_keys)
    shared = SharedTokens(
        services.channels, services.timeouts, services.name, leases, here, happened
    )
    return Rate(shared.take, take_here, *rules, shared.stop)
