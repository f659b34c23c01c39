"""The stores' figures for `/metrics`, and what `/readyz` says of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from wsgate.figures import Key
from wsgate.stores.store import Store


def store_samples(stores: Iterable[Store]) -> Iterator[tuple[Key, float]]:
    """Those of `stores`."""
    for store in stores:
        name = store.name
        for outcome, count in store.outcomes.items():
            yield ("wsgate_store_requests_total", name, outcome), count
        yield ("wsgate_store_up", name), store.is_up
        yield ("wsgate_store_connections", name), store.in_use
        yield ("wsgate_store_waiting", name), store.waiting
