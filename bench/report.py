"""From cells to medians, ratios, targets, tables and pages."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from bench.gateways import Gateway
from bench.measure import Cell
from bench.rows import Row

Results = dict[str, Any]


class Target(NamedTuple):
    """A ratio that is wanted: `field` of `above` ÷ `field` of `below` in `row`."""

    title: str
    row: str
    field: str
    above: str
    below: str
    least: float | None = None
    most: float | None = None

    def is_reached(self, ratio: float) -> bool:
        """Whether the ratio is good enough."""
        return ratio >= self.least if self.least is not None else ratio <= (self.most or 0.0)

    @property
    def wanted(self) -> str:
        """As people write it."""
        return f"≥ {self.least:g}" if self.least is not None else f"≤ {self.most:g}"


def _least(
    title: str, row: str, field: str, bound: float, below: str, above: str = "wsgate-kept"
) -> Target:
    return Target(title, row, field, above, below, least=bound)


def _most(
    title: str, row: str, field: str, bound: float, below: str, above: str = "wsgate-kept"
) -> Target:
    return Target(title, row, field, above, below, most=bound)


_KEPT, _NODE = "wsgate-kept", "node-kept"
TARGETS = (
    _least("messages/s: wsgate ÷ Node, both kept", "64B-32", "rate", 1.3, _NODE),
    _least("messages/s: wsgate ÷ nginx + Lua", "64B-32", "rate", 3.0, "nginx-lua"),
    _least("messages/s: wsgate ÷ Pushpin + nginx", "64B-32", "rate", 7.0, "pushpin"),
    _least(
        "messages/s, one connection per request: wsgate ÷ Node",
        *("64B-32", "rate", 1.2, "node-once", "wsgate-once"),
    ),
    _most("gateway CPU per message: wsgate ÷ Node, both kept", "64B-32", "cpu_each", 0.75, _NODE),
    _most("p99 at 32 connections: wsgate ÷ Node", "64B-32", "p99", 1.0, _NODE),
    _least("1 MiB messages, MB/s: wsgate ÷ Node", "1MiB", "rate", 1.0, _NODE),
    _least("handshakes/s: wsgate ÷ Node", "handshakes", "rate", 1.0, _NODE),
    _least("handshakes/s, TLS: wsgate ÷ Node", "handshakes-tls", "rate", 1.0, _NODE),
    _most("memory per idle connection: wsgate ÷ Node", "idle", "per_connection", 1.0, _NODE),
    _most(
        "memory per idle connection, TLS: wsgate ÷ Node",
        *("idle-tls", "per_connection", 1.0, _NODE),
    ),
    _least("share of what PHP-FPM alone can serve", "64B-32", "rate", 0.35, "php-fpm"),
    _most(
        "CPU per message, 10,000 ÷ 32 connections",
        *("64B-10000/64B-32", "cpu_each", 1.15, _KEPT),
    ),
    _least("messages/s: cached answers ÷ the same through PHP", "cached/same", "rate", 3.0, _KEPT),
    _most(
        "gateway CPU per message: cached answers ÷ the same through PHP",
        *("cached/same", "cpu_each", 0.35, _KEPT),
    ),
    _most(
        "p99 of the others while one client moves 16 MiB ÷ quiet",
        *("beside-16MiB/quiet", "p99", 2.0, _KEPT),
    ),
)


class Figure(NamedTuple):
    """A column: `field` times `scale`."""

    title: str
    field: str
    scale: float
    decimals: int

    def text(self, value: float | None) -> str:
        """The value, or a dash."""
        return "–" if value is None else f"{value * self.scale:,.{self.decimals}f}"


_RATE = Figure("per second", "rate", 1, 0)
_COST = (
    Figure("CPU µs each", "cpu_each", 1e6, 1),
    Figure("PHP's CPU µs", "php_cpu_each", 1e6, 1),
)
_TIMES = tuple(
    Figure(title, field, 1e3, 2)
    for title, field in (("p50 ms", "p50"), ("p99 ms", "p99"), ("p99.9 ms", "p999"))
)
_REST = (
    Figure("peak MiB", "peak", 2**-20, 1),
    Figure("gateway's CPU %", "cpu_share", 100, 0),
    Figure("generator's CPU %", "generator_cpu", 100, 0),
)
_TURNS = (
    Figure("longest turn, CPU ms", "longest_cpu", 1e3, 2),
    Figure("tenth longest", "tenth_cpu", 1e3, 2),
    Figure("longest by the clock, ms", "longest_clock", 1e3, 2),
    Figure("tenth longest by the clock", "tenth_clock", 1e3, 2),
    Figure("turns", "turns", 1, 0),
)
_FANOUT = (
    Figure("deliveries per second", "rate", 1, 0),
    Figure("CPU µs each", "cpu_each", 1e6, 1),
    Figure("to the last one, p50 ms", "p50", 1e3, 1),
    Figure("slowest, ms", "max", 1e3, 1),
    Figure("longest turn, CPU ms", "longest_cpu", 1e3, 2),
    Figure("longest by the clock, ms", "longest_clock", 1e3, 2),
    Figure("bytes per subscription", "per_subscription", 1, 0),
    Figure("connections", "connections", 1, 0),
    Figure("generator's CPU %", "generator_cpu", 100, 0),
)
_IDLE = (
    Figure("KiB per connection", "per_connection", 2**-10, 2),
    Figure("connections", "connections", 1, 0),
    Figure("peak MiB", "peak", 2**-20, 1),
)


def figures_of(row: Row) -> tuple[Figure, ...]:
    """The columns of a row's table, the one that counts first."""
    if row.kind == "idle":
        return _IDLE
    if row.kind == "fanout":
        return _FANOUT
    if row.kind == "turns":
        return _TURNS
    if row.kind == "beside":
        return (*_TIMES, *_COST, *_REST)
    first = (Figure("MB/s", "megabytes", 1, 1),) if row.in_bytes else ()
    return (*first, _RATE, *_COST, *_TIMES, *_REST)


def one_line(row: Row, cell: Cell | None) -> str:
    """One measurement, for the progress."""
    if cell is None:
        return "(does not apply)"
    parts = (figure for figure in figures_of(row) if cell.get(figure.field) is not None)
    return ", ".join(f"{figure.title} {figure.text(cell[figure.field])}" for figure in parts)


def middle(results: Results, row: str, gateway: str, field: str) -> float | None:
    """The median over all rounds; None if there is no figure at all."""
    cells = results["cells"].get(row, {}).get(gateway, ())
    values = [cell[field] for cell in cells if cell is not None and cell.get(field) is not None]
    return median(values) if values else None


def ratios(results: Results, target: Target) -> list[float]:
    """The ratio within each round that has both figures."""
    row_above, _, row_below = target.row.partition("/")
    cells = results["cells"]
    above = cells.get(row_above, {}).get(target.above, ())
    below = cells.get(row_below or row_above, {}).get(target.below, ())
    return [
        one[target.field] / other[target.field]
        for one, other in zip(above, below, strict=False)
        if one and other and target.field in one and other.get(target.field)
    ]


def targets_table(results: Results) -> list[list[str]]:
    """Target, wanted, measured (least to most), verdict."""
    table = [["target", "wanted", "measured", "least – most", "verdict"]]
    for target in TARGETS:
        found = ratios(results, target)
        if not found:
            table.append([target.title, target.wanted, "–", "–", "not measured"])
            continue
        ratio = median(found)
        verdict = "reached" if target.is_reached(ratio) else "NOT reached"
        spread = f"{min(found):.2f} – {max(found):.2f}"
        table.append([target.title, target.wanted, f"{ratio:.2f}", spread, verdict])
    return table


def row_table(results: Results, row: Row, gateways: Sequence[Gateway]) -> list[list[str]]:
    """All gateways in one row of work, with the ratio of its first figure to the first gateway."""
    figures = figures_of(row)
    base = middle(results, row.name, gateways[0].name, figures[0].field)
    table = [["gateway", *(figure.title for figure in figures), f"÷ {gateways[0].name}"]]
    for gateway in gateways:
        values = [middle(results, row.name, gateway.name, figure.field) for figure in figures]
        if all(value is None for value in values):
            if _failures_of(results, row, gateway):
                table.append([gateway.title, "failed", *[""] * len(figures)])
            continue
        ratio = values[0] / base if base and values[0] is not None else None
        texts = (figure.text(value) for figure, value in zip(figures, values, strict=True))
        failed = _failures_of(results, row, gateway)
        title = f"{gateway.title} ({failed} × failed)" if failed else gateway.title
        table.append([title, *texts, "–" if ratio is None else f"{ratio:.2f}"])
    return table


def _failures_of(results: Results, row: Row, gateway: Gateway) -> int:
    """In how many rounds this cell has failed."""
    names = [(failure["row"], failure["gateway"]) for failure in results["failures"]]
    return names.count((row.name, gateway.name))


def write(
    results: Results, rows: Sequence[Row], gateways: Sequence[Gateway], root: Path, with_page: bool
) -> None:
    """Print the tables and write JSON; `with_page` also docs/performance.md and its plots."""
    text = _plain_text(results, rows, gateways)
    print(text)
    folder = root / "reports" / "bench"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "latest.txt").write_text(text)
    (folder / "latest.json").write_text(json.dumps(results, indent=1) + "\n")
    print(f"written: {folder}/latest.json and latest.txt")
    if with_page:
        from bench import page

        for path in page.write(results, rows, gateways, root / "docs"):
            print(f"written: {path}")


def _plain_text(results: Results, rows: Sequence[Row], gateways: Sequence[Gateway]) -> str:
    parts = [f"\n{row.title}\n{aligned(row_table(results, row, gateways))}" for row in rows]
    parts.append("\nTargets: the median of the ratios within each round\n")
    parts[-1] += aligned(targets_table(results))
    failed = "FAILED in round {round}: {gateway}, {row}: {why}"
    parts += [failed.format(**failure) for failure in results["failures"]]
    return "\n".join(parts) + "\n"


def aligned(table: list[list[str]]) -> str:
    """Columns of equal width: the first to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    lines = []
    for cells in table:
        first = f"  {cells[0]:{widths[0]}}"
        pairs = zip(cells[1:], widths[1:], strict=True)
        lines.append("  ".join((first, *(f"{cell:>{width}}" for cell, width in pairs))))
    lines.insert(1, "  " + "-" * (len(lines[0]) - 2))
    return "\n".join(lines)
