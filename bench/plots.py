"""The plots of docs/performance.md, as SVG that looks the same for the same figures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import matplotlib as mpl
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from bench.gateways import Gateway
from bench.report import Results, middle
from bench.rows import Row

_COLOURS = {
    "wsgate-kept": "#1b6ca8",
    "wsgate-once": "#7fb2d9",
    "node-kept": "#3c873a",
    "node-once": "#9cc79a",
    "nginx-lua": "#c2571a",
    "autobahn": "#8a6bb1",
    "pushpin": "#b03a5b",
    "php-fpm": "#777777",
}
# Text stays text, and nothing random or of today gets into the file.
mpl.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "wsgate", "font.size": 9})

_Bar = tuple[Gateway, float]


def write(
    results: Results, rows: Sequence[Row], gateways: Sequence[Gateway], folder: Path
) -> Iterator[tuple[str, Path]]:
    """Write each plot that has figures; yields its title and its file."""
    folder.mkdir(parents=True, exist_ok=True)
    present = {row.name for row in rows}
    for name, title, row, field, scale in (
        ("rate", "Messages per second, 64 bytes, 32 connections", "64B-32", "rate", 1),
        ("cpu", "Gateway CPU per message (µs), same row", "64B-32", "cpu_each", 1e6),
        ("p99", "p99 (ms), same row", "64B-32", "p99", 1e3),
        ("echo", "Messages per second without PHP, 64 bytes, 32 connections", "echo", "rate", 1),
        ("megabytes", "MB per second, 1 MiB messages", "1MiB", "megabytes", 1),
        ("handshakes", "Handshakes per second, plain", "handshakes", "rate", 1),
        ("handshakes-tls", "Handshakes per second, TLS", "handshakes-tls", "rate", 1),
        ("memory", "KiB per idle connection, plain", "idle", "per_connection", 2**-10),
        ("memory-tls", "KiB per idle connection, TLS", "idle-tls", "per_connection", 2**-10),
        ("tail", "p99 (ms) of 32 calm clients beside 1,000 busy ones", "tail", "p99", 1e3),
        ("beside", "p99 (ms) of 32 calm clients beside 16 MiB", "beside-16MiB", "p99", 1e3),
    ):
        bars = [
            (gateway, value * scale)
            for gateway in gateways
            if (value := middle(results, row, gateway.name, field)) is not None
        ]
        if row in present and bars:
            yield title, _bars(folder / f"{name}.svg", title, bars)
    curve = [row for row in rows if row.name.startswith("64B-")]
    if len(curve) > 1:
        title = "Gateway CPU per message (µs) as connections grow"
        yield title, _curve(folder / "growth.svg", title, results, curve, gateways)


def _bars(path: Path, title: str, bars: list[_Bar]) -> Path:
    figure = Figure(figsize=(7, 0.6 + 0.3 * len(bars)), layout="constrained")
    axes = figure.subplots()
    names = [gateway.title.replace("`", "") for gateway, _ in bars]
    values = [value for _, value in bars]
    drawn = axes.barh(names, values, color=[_COLOURS[gateway.name] for gateway, _ in bars])
    decimals = 0 if max(values) >= 100 else 1
    axes.bar_label(drawn, [f"{value:,.{decimals}f}" for value in values], padding=3)
    axes.invert_yaxis()
    axes.margins(x=0.12)
    axes.set_title(title, loc="left", fontsize=10)
    axes.spines[["top", "right"]].set_visible(False)
    return _save(figure, path)


def _curve(
    path: Path, title: str, results: Results, rows: Sequence[Row], gateways: Sequence[Gateway]
) -> Path:
    figure = Figure(figsize=(7, 3.6), layout="constrained")
    axes = figure.subplots()
    for gateway in gateways:
        points = [
            (row.clients, value * 1e6)
            for row in rows
            if (value := middle(results, row.name, gateway.name, "cpu_each")) is not None
        ]
        # One that needs ten times as much would flatten all others.
        if points and gateway.name != "pushpin":
            label = gateway.title.replace("`", "")
            axes.plot(*zip(*points, strict=True), "o-", label=label, color=_COLOURS[gateway.name])
    axes.set_xscale("log")
    axes.set_xticks([row.clients for row in rows], [f"{row.clients:,}" for row in rows])
    axes.set_xlabel("connections, all of them busy")
    axes.set_ylim(bottom=0)
    axes.set_title(title, loc="left", fontsize=10)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(fontsize=8, frameon=False)
    return _save(figure, path)


def _save(figure: Figure, path: Path) -> Path:
    FigureCanvasSVG(figure).print_svg(path, metadata={"Date": None})
    return path
