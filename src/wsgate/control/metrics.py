"""`/metrics`: figures in Prometheus' text format, or in OpenMetrics where that is asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.exposition import generate_latest
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.registry import Collector
from twisted.internet.interfaces import IReactorTime

from wsgate.control.answers import Answer, Asked, Endpoint, Operation, Said
from wsgate.figures import CATALOGUE, Key, Metric, Samples

KEPT = 1.0
"""Seconds that a rendered page serves further scrapes."""

TEXT = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS = "application/openmetrics-text"


class _Figures(Collector):
    """A collector of the figures as they are at one moment."""

    def __init__(self, samples: Mapping[Key, float]) -> None:
        self._by_name: dict[str, list[tuple[Key, float]]] = {}
        for (name, *labels), value in sorted(samples.items()):
            self._by_name.setdefault(name, []).append((tuple(labels), value))

    def collect(self) -> Iterator[Family]:
        for name, metric in CATALOGUE.items():
            if name not in self._by_name:
                continue
            family = _family(metric)
            for labels, value in self._by_name[name]:
                family.add_metric(labels, value)
            yield family


def _family(metric: Metric) -> CounterMetricFamily | GaugeMetricFamily:
    family = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
    return family(metric.name, metric.help, labels=metric.labels)


def render(samples: Mapping[Key, float], *, as_openmetrics: bool = False) -> bytes:
    """The figures as a page."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Figures(samples))
    text: bytes = (openmetrics.generate_latest if as_openmetrics else generate_latest)(registry)
    return text


def metrics(clock: IReactorTime, samples: Callable[[], Samples]) -> list[Endpoint]:
    """The endpoint. A page is made at most once in `KEPT` seconds, whoever asks how often."""
    pages: dict[bool, tuple[float, bytes]] = {}

    def get(asked: Asked) -> Answer:
        as_openmetrics = wants_openmetrics(asked.accept)
        now = clock.seconds()
        made, page = pages.get(as_openmetrics, (0.0, b""))
        if not page or now - made >= KEPT:
            page = render(samples(), as_openmetrics=as_openmetrics)
            pages[as_openmetrics] = (now, page)
        return Answer(
            200, page, f"{OPENMETRICS}; version=1.0.0; charset=utf-8" if as_openmetrics else TEXT
        )

    says = {200: Said("All of them; in OpenMetrics if asked for.", {"type": "string"}, TEXT)}
    return [
        Endpoint(("metrics",), {"GET": Operation(get, "metrics", "Figures for Prometheus", says)})
    ]


def wants_openmetrics(accept: str) -> bool:
    """Whether an Accept field (RFC 9110 §12.5.1) names OpenMetrics and does not forbid it."""
    for item in accept.split(","):
        kind, *parameters = (part.strip().lower() for part in item.split(";"))
        if kind == OPENMETRICS:
            return not any(part in ("q=0", "q=0.0", "q=0.00", "q=0.000") for part in parameters)
    return False
