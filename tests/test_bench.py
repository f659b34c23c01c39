"""bench: from cells to ratios, verdicts and tables; which cells there are; what is left to do."""

import subprocess
import sys
from pathlib import Path

import pytest
from bench.__main__ import Progress, Run, _chosen
from bench.gateways import GATEWAYS, Gateway
from bench.measure import MeasureFailed
from bench.report import TARGETS, Target, aligned, middle, ratios, row_table, targets_table
from bench.rows import ROWS, Row

ROOT = Path(__file__).parent.parent
ABOVE = Gateway("above", "Above", lambda *_: None)
BELOW = Gateway("below", "Below", lambda *_: None, once=True)
ROW = Row("row", "a row", "messages", 1)
TARGET = Target("above ÷ below", "row", "rate", "above", "below", 2.0)


def results(above, below, failures=(), row="row"):
    return {
        "cells": {row: {"above": list(map(cell, above)), "below": list(map(cell, below))}},
        "failures": [{"row": row, "gateway": name, "round": 1, "why": "no"} for name in failures],
    }


def cell(rate):
    return None if rate is None else {"rate": rate}


def test_ratios_are_taken_within_a_round():
    assert ratios(results([10, 20, 30], [5, 5, 10]), TARGET) == [2, 4, 3]


def test_a_round_without_one_of_the_two_has_no_ratio():
    assert ratios(results([10, None, 30], [5, 5, None]), TARGET) == [2]


def test_a_figure_of_zero_below_is_no_ratio():
    assert ratios(results([10, 10], [0, 5]), TARGET) == [2]


def test_a_ratio_between_two_rows_takes_each_from_its_own():
    found = results([10], [1])
    found["cells"]["other"] = {"above": [{"rate": 4}]}
    assert ratios(found, Target("t", "row/other", "rate", "above", "above", 2.0)) == [2.5]


@pytest.mark.parametrize(
    ("target", "ratio", "is_reached"),
    [
        (TARGET, 2.0, True),
        (TARGET, 1.99, False),
        (TARGET._replace(least=None, most=0.75), 0.75, True),
        (TARGET._replace(least=None, most=0.75), 0.76, False),
    ],
)
def test_a_target_is_reached_at_its_bound_and_not_past_it(target, ratio, is_reached):
    assert target.is_reached(ratio) is is_reached


def test_the_verdict_is_that_of_the_median():
    targets = {line[0]: line for line in targets_table(_all_ratios([1.2, 1.3, 5.0]))[1:]}
    line = targets["messages/s: wsgate ÷ Node, both kept"]
    assert line[1:] == ["≥ 1.3", "1.30", "1.20 – 5.00", "reached"]


def test_what_was_not_measured_is_not_called_missed():
    assert {line[4] for line in targets_table({"cells": {}})[1:]} == {"not measured"}


def _all_ratios(values):
    of_wsgate = [{"rate": value} for value in values]
    return {"cells": {"64B-32": {"wsgate-kept": of_wsgate, "node-kept": [{"rate": 1.0}] * 3}}}


def test_the_middle_leaves_out_rounds_without_a_figure():
    assert middle(results([1, None, 3, 100], []), "row", "above", "rate") == 3
    assert middle(results([None], []), "row", "above", "rate") is None


def test_a_gateway_that_always_failed_is_named_as_failed():
    table = row_table(results([10], [None], failures=["below"]), ROW, [ABOVE, BELOW])
    assert [line[:2] for line in table[1:]] == [["Above", "10"], ["Below", "failed"]]


def test_a_gateway_that_failed_in_one_round_says_so_beside_its_figures():
    table = row_table(results([10, 10], [5, None], failures=["below"]), ROW, [ABOVE, BELOW])
    assert table[2][0] == "Below (1 × failed)"
    assert table[2][-1] == "0.50"


def test_columns_are_of_equal_width():
    lines = aligned([["a", "long title"], ["name", "1"]]).splitlines()
    assert lines == ["  a     long title", "  ----------------", "  name           1"]


def test_every_target_names_a_row_a_gateway_and_a_figure_of_this_run():
    rows = {row.name for row in ROWS}
    gateways = {gateway.name for gateway in GATEWAYS}
    for target in TARGETS:
        assert set(target.row.split("/")) <= rows
        assert {target.above, target.below} <= gateways


def test_rows_and_gateways_have_names_of_their_own():
    for things in (ROWS, GATEWAYS):
        assert len({thing.name for thing in things}) == len(things)


def test_rows_of_one_group_run_the_same_variant():
    for row in ROWS:
        assert {other.variant for other in ROWS if other.group == row.group} == {row.variant}


def test_a_row_is_for_gateways_that_have_its_variant():
    assert Row("echo", "", "messages", 1, variant="echo").is_for({"", "echo"}, once=False)
    assert not Row("echo", "", "messages", 1, variant="echo").is_for({""}, once=False)
    assert not Row("idle", "", "idle", 1, kept_only=True).is_for({""}, once=True)


def test_an_unknown_row_ends_with_2(capsys):
    with pytest.raises(SystemExit) as ended:
        _chosen("64B-32,nonsense", ROWS, [])
    assert ended.value.code == 2
    assert "there is no 'nonsense'; known are 64B-1, 64B-32" in capsys.readouterr().err


def test_what_is_left_is_reckoned_from_cells_of_the_same_row():
    now = [0.0]
    slow, quick = Row("slow", "", "idle", 1), Row("quick", "", "messages", 1)
    progress = Progress([slow, slow, quick, quick], clock=lambda: now[0])
    now[0] = 10.0
    assert progress.went_on(slow) == "1/4,  30 s left"
    now[0] = 12.0
    assert progress.went_on(quick) == "2/4,  12 s left"
    now[0] = 14.0
    assert progress.went_on(quick) == "3/4,  10 s left"


class NoProcesses:
    def stop(self):
        pass


class FailsFor:
    """A measurer for whom one gateway always fails, in a way that nobody foresaw."""

    def __init__(self, name, error):
        self.name = name
        self.error = error
        self.asked = []

    def measure(self, row, gateway, processes):
        self.asked.append((row.name, gateway.name))
        if gateway.name == self.name:
            raise self.error
        return {"rate": 1.0}


@pytest.mark.parametrize("error", [MeasureFailed("no answer"), OSError("broken pipe")])
def test_what_fails_costs_its_own_cells_only_and_is_left_alone_after_two_rounds(
    monkeypatch, capsys, error
):
    monkeypatch.setattr(Gateway, "run", lambda *_: NoProcesses())
    measurer = FailsFor("below", error)
    run = Run(None, measurer, [ROW], [ABOVE, BELOW], 4, quick=False)
    run.measure()
    assert run.cells["row"] == {"above": [{"rate": 1.0}] * 4, "below": [None] * 4}
    assert measurer.asked.count(("row", "below")) == 2
    assert [failure["round"] for failure in run.failures] == [1, 2]
    assert str(error) in run.failures[0]["why"]
    assert run.measured == 4
    assert "[8/8,   0 s left]" in capsys.readouterr().out


def test_a_gateway_that_does_not_start_costs_its_own_cells_only(monkeypatch, capsys):
    def start(gateway, *_):
        if gateway is BELOW:
            raise FileNotFoundError("no such program")
        return NoProcesses()

    monkeypatch.setattr(Gateway, "run", start)
    run = Run(None, FailsFor("", None), [ROW], [ABOVE, BELOW], 1, quick=False)
    run.measure()
    assert run.cells["row"]["above"] == [{"rate": 1.0}]
    assert "did not start: FileNotFoundError: no such program" in run.failures[0]["why"]


def test_help_names_rows_gateways_units_and_defaults():
    command = [sys.executable, "-m", "bench", "--help"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    for row in ROWS:
        assert row.name in done.stdout
    for text in ("default 1.5", "default 5", "wsgate-kept", "Exit status"):
        assert text in " ".join(done.stdout.split())
