"""Group E, case 4: certificates renewed while clients are served."""

import signal
import time

import pytest

from tests.faults.stage import until
from tests.integration.test_certificates import Load, issue, replace, serial
from tests.integration.test_tls_service import Authority

GOOD, EXPIRED, MISMATCH, MISSING = "good", "expired", "key mismatch", "missing file"
ERRORS = {EXPIRED: "expired on", MISMATCH: "does not match", MISSING: "No such file"}
ROUNDS = 100
KEY = b"-----BEGIN PRIVATE KEY"


def bad_data(authority, kind, data):
    """What stands in the file then; None: there is no file."""
    if kind == EXPIRED:
        return issue(authority, days=-1)[0]
    if kind == MISMATCH:
        other = issue(authority)[0]
        return data[: data.index(KEY)] + other[other.index(KEY) :]
    return None


@pytest.mark.case("E4")
def test_100_reloads_of_good_and_bad_certificates_under_load_drop_nobody(stages, outcome, tmp_path):
    authority = Authority(tmp_path)
    path = tmp_path / "live.pem"
    data, shown = issue(authority)
    replace(path, data)
    s = stages.scripted(
        fresh=True,
        also=("tls",),
        gateway_settings={
            "certificate": str(path),
            "private_key": str(path),
            "certificate_check_interval": 0,
        },
    )
    port, slowest = s.also["tls"], 0.0
    with Load(port, authority.context(), str) as load:
        until(lambda: load.answers > 10, 20, "the load runs")
        for number in range(ROUNDS):
            kind = (GOOD, EXPIRED, MISMATCH, MISSING)[number % 4]
            if kind == GOOD:
                data, shown = issue(authority)
                replace(path, data)
                slowest = max(slowest, shown_after(s, port, shown))
            else:
                bad = bad_data(authority, kind, data)
                replace(path, bad) if bad else path.unlink()
                refused(s, ERRORS[kind])
                assert serial(port) == shown
        answered = load.answers
        until(lambda: load.answers > answered + 10, 20, "the load still runs")
    assert load.drops == []
    assert slowest < 1.0
    outcome(
        f"{ROUNDS} times SIGHUP: a good one is shown after {slowest * 1e3:.0f} ms at most, a bad "
        f"one is an error line and changes nothing; {load.answers} answers meanwhile, 0 drops"
    )


def shown_after(s, port, wanted):
    """Seconds from SIGHUP to the first handshake that shows `wanted`."""
    s.wsgate.process.send_signal(signal.SIGHUP)
    began = time.monotonic()
    until(lambda: serial(port) == wanted, 5, "the new certificate is shown")
    return time.monotonic() - began


def refused(s, text):
    """SIGHUP, and one more line of log with `text`."""
    before = s.wsgate.log().count(text)
    s.wsgate.process.send_signal(signal.SIGHUP)
    until(lambda: s.wsgate.log().count(text) == before + 1, 5, text)
