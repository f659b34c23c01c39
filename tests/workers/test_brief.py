"""The brief says the same on both ends, and reports do."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsgate.config import Gateway, Limits, Pool, Route, Settings
from wsgate.gateway import Tally
from wsgate.tls import Credentials
from wsgate.tls.certificates import make_self_signed
from wsgate.workers import reports
from wsgate.workers.brief import Brief

SETTINGS = Settings(
    gateway=Gateway(port=("tls:443", "unix:/run/a b.sock:mode=660"), self_signed=True),
    limits=Limits(max_message_size=5, ping_interval=0.25, compression=True),
    pools={
        "default": Pool(name="default", ini={"memory_limit": "256M"}),
        "app": Pool(name="app", fastcgi=("tcp:10.0.0.1:9000", "unix:/x"), keep_connections=False),
    },
    routes=(
        Route(script="/srv/a\udcff.php", origins=("*",)),
        Route(path="/b", script="/srv/grün.php", pool="app", subprotocols=("a", "b")),
    ),
)


def told(**changes):
    whole = {
        "number": 2,
        "settings": SETTINGS,
        "credentials": None,
        "reactor": "twisted.internet.epollreactor",
        "folder": "/srv",
    }
    return Brief(**whole | changes)


def test_settings_arrive_as_they_were_sent():
    line = told().to_line()
    assert line.count(b"\n") == 1
    assert line.endswith(b"\n")
    assert Brief.from_line(line) == told()


def test_certificates_arrive_with_their_chain_and_key():
    sent = make_self_signed()
    authority = make_self_signed()._replace(source="--certificates d: a.pem")
    sent = sent._replace(chain=[authority.certificate])
    credentials = Credentials((sent,), (authority.certificate,), required=False)
    brief = Brief.from_line(told(credentials=credentials).to_line())
    assert brief.credentials.authorities == (authority.certificate,)
    assert not brief.credentials.required
    (got,) = brief.credentials.identities
    assert got.certificate == sent.certificate
    assert list(got.chain) == [authority.certificate]
    assert got.source == "--self-signed"
    assert got.key.private_numbers() == sent.key.private_numbers()


REPORTS = [
    reports.Ready(),
    reports.Figures(Tally(9, 5, 3, 1), 2),
    reports.LogEvent("warn", "wsgate", "line\none \x1b ☃"),
]


@pytest.mark.parametrize("report", REPORTS)
def test_a_report_arrives_as_it_was_sent(report):
    line = reports.to_line(report)
    assert line.count(b"\n") == 1
    assert reports.from_line(line) == report


@given(st.text())
def test_no_text_makes_a_line_that_is_too_long_or_two(text):
    line = reports.to_line(reports.LogEvent("info", text, text * 100))
    assert len(line) <= reports.LONGEST_LINE
    assert line.count(b"\n") == 1


def test_the_longest_text_fits_a_line():
    event = reports.LogEvent("critical", "\U0001f600" * 300, "\U0001f600" * reports.LONGEST_TEXT)
    line = reports.to_line(event)
    assert len(line) <= reports.LONGEST_LINE
    assert reports.from_line(line).text == event.text


@pytest.mark.parametrize(
    "line", [b"", b"{", b"[]", b"3", b'{"log": ["info"]}', b'{"tally": [1]}', b"\xff", b"null"]
)
def test_what_is_no_report_is_a_value_error(line):
    with pytest.raises(ValueError, match="not a report"):
        reports.from_line(line)
