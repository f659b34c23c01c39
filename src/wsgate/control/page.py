"""docs/metrics.md, made from the catalogue. `python -m wsgate.control` prints it."""

from __future__ import annotations

from wsgate.figures import CATALOGUE

_HEAD = """# Metrics

What `GET /metrics` of the [control interface](control.md) tells. This page is made by
`python -m wsgate.control`. A metric with labels has a line for each value that has occurred, and no
label is ever a client's text. With `--workers` the figures of all processes are added up, those of
ended ones included; they are at most a second old, and a worker that is killed takes the last
second of its own with it.

There is no histogram of response times: every message would pay for it. PHP-FPM's status page and
slow log tell how long PHP takes.

| metric | kind | labels | meaning |
|---|---|---|---|
"""


def page() -> str:
    """All metrics, as Markdown."""
    rows = []
    for metric in CATALOGUE.values():
        labels = ", ".join(f"`{label}`" for label in metric.labels)
        rows.append(f"| `{metric.name}` | {metric.kind} | {labels} | {metric.help} |\n")
    return _HEAD + "".join(rows)
