"""wsgate.control.metrics and .page: what Prometheus reads, and what people read about it."""

import subprocess
import sys
from pathlib import Path

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text
from twisted.internet.task import Clock

from wsgate.control.answers import Asked, answer
from wsgate.control.metrics import metrics, render, wants_openmetrics
from wsgate.control.page import page
from wsgate.figures import CATALOGUE

PAGE = Path(__file__).parents[2] / "docs/metrics.md"

# One sample of each, with a label that has to be escaped.
ALL = {
    (name, *(f'{label}"\\\n' for label in metric.labels)): float(number)
    for number, (name, metric) in enumerate(CATALOGUE.items(), 1)
}


def read(text, parse):
    return {
        (sample.name, *(sample.labels[label] for label in CATALOGUE[sample.name].labels)): (
            sample.value
        )
        for family in parse(text.decode())
        for sample in family.samples
    }


@pytest.mark.parametrize(
    ("as_openmetrics", "parse"), [(False, parse_text), (True, parse_openmetrics)]
)
def test_what_is_written_is_read_again_by_prometheus(as_openmetrics, parse):
    assert read(render(ALL, as_openmetrics=as_openmetrics), parse) == ALL


@pytest.mark.parametrize(
    ("as_openmetrics", "parse"), [(False, parse_text), (True, parse_openmetrics)]
)
def test_every_metric_has_its_kind_and_help(as_openmetrics, parse):
    families = list(parse(render(ALL, as_openmetrics=as_openmetrics).decode()))
    assert len(families) == len(CATALOGUE)
    for family in families:
        (sample, *_) = family.samples
        metric = CATALOGUE[sample.name]
        assert (family.type, family.documentation) == (metric.kind, metric.help)


def test_names_and_help_follow_the_conventions():
    for name, metric in CATALOGUE.items():
        assert name.startswith(("wsgate_", "process_"))
        assert name.endswith("_total") == (metric.kind == "counter"), name
        assert metric.help.endswith("."), name
        assert "|" not in metric.help, name
        assert not name.endswith(("_milliseconds", "_ms", "_kib", "_mb")), name


def test_a_metric_without_samples_is_left_out():
    text = render({("wsgate_ready",): 1})
    assert b"wsgate_ready 1.0\n" in text
    assert b"wsgate_messages" not in text


def test_nothing_at_all_is_still_a_page():
    assert render({}) == b""
    assert render({}, as_openmetrics=True) == b"# EOF\n"


def test_a_page_is_made_once_a_second_however_often_it_is_asked_for():
    clock = Clock()
    made = []

    def samples():
        made.append(clock.seconds())
        return {("wsgate_uptime_seconds",): clock.seconds()}

    endpoints = metrics(clock, samples)

    def get(accept=""):
        given = answer(endpoints, Asked("GET", "/metrics", accept))
        assert given.status == 200
        return given

    first = get()
    clock.advance(0.99)
    assert get() == first
    assert made == [0.0]
    openmetrics = get("application/openmetrics-text; version=1.0.0")
    assert openmetrics.content_type.startswith("application/openmetrics-text")
    assert openmetrics.body.endswith(b"# EOF\n")
    assert made == [0.0, 0.99]
    clock.advance(0.01)
    assert b"wsgate_uptime_seconds 1.0\n" in get().body
    assert get().content_type == "text/plain; version=0.0.4; charset=utf-8"


@pytest.mark.parametrize(
    ("accept", "wanted"),
    [
        ("", False),
        ("*/*", False),
        ("text/plain;version=0.0.4;q=0.3,*/*;q=0.2", False),
        ("application/openmetrics-text;version=1.0.0;q=0.6,text/plain;q=0.3", True),
        ("text/plain, Application/OpenMetrics-Text", True),
        ("application/openmetrics-text;q=0, text/plain", False),
        ("application/openmetrics-text;q=0.001", True),
        (";,;,,=", False),
    ],
)
def test_openmetrics_is_for_who_asks_for_it(accept, wanted):
    assert wants_openmetrics(accept) is wanted


def test_the_page_in_docs_is_up_to_date():
    assert PAGE.read_text() == page(), "run: python -m wsgate.control > docs/metrics.md"


def test_the_command_prints_the_page():
    command = [sys.executable, "-m", "wsgate.control"]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert printed == page()


def test_every_metric_has_a_row():
    for name in CATALOGUE:
        assert f"| `{name}` |" in page()
