"""The table of cases in docs/reliability.md, and how it is made."""

from __future__ import annotations

import re

import pytest

from tests.faults.cases import CASES
from tests.faults.table import DOCUMENT, table, write

NUMBERS = {"A": 21, "B": 11, "C": 12, "D": 9, "E": 10}


def result(case, outcome="passed", figures=(), reason=""):
    return {"case": case, "outcome": outcome, "figures": list(figures), "reason": reason}


def row(results, case):
    (line,) = [line for line in table(results).splitlines() if line.startswith(f"| {case} |")]
    return line


def test_there_are_63_cases_numbered_by_their_kind():
    expected = [f"{kind}{n}" for kind, last in NUMBERS.items() for n in range(1, last + 1)]
    assert list(CASES) == expected


def test_every_case_is_in_the_document_exactly_once():
    text = DOCUMENT.read_text(encoding="utf-8")
    text = text.partition("<!-- faults:begin -->")[2].partition("<!-- faults:end -->")[0]
    assert re.findall(r"^\| ([A-E]\d+) \|", text, re.M) == list(CASES)


def test_the_figures_of_all_tests_of_a_case_are_in_its_row():
    line = row({"one": result("A1", figures=["3 ms"]), "two": result("A1", figures=["4 ms"])}, "A1")
    assert line.endswith("| passed | 3 ms; 4 ms |")


@pytest.mark.parametrize(
    ("outcomes", "expected"),
    [
        ((), "not run"),
        (("passed", "failed"), "**failed**"),
        (("passed", "skipped"), "passed"),
        (("skipped",), "not run here"),
    ],
)
def test_the_outcome_of_a_case_is_that_of_its_tests(outcomes, expected):
    results = {str(n): result("B3", outcome) for n, outcome in enumerate(outcomes)}
    assert f"| {expected} |" in row(results, "B3")


def test_a_case_that_was_not_run_says_why():
    assert "not run here: no TLS" in row({"one": result("D7", "skipped", reason="no TLS")}, "D7")


def test_a_figure_cannot_break_the_table():
    assert "a \\| b" in row({"one": result("A1", figures=["a | b"])}, "A1")


def test_only_what_is_between_the_marks_is_written(tmp_path):
    document = tmp_path / "page.md"
    document.write_text("before\n<!-- faults:begin -->\nold\n<!-- faults:end -->\nafter\n")
    write(document, "new")
    assert document.read_text() == (
        "before\n<!-- faults:begin -->\nnew\n<!-- faults:end -->\nafter\n"
    )


def test_a_document_without_marks_is_an_error(tmp_path):
    document = tmp_path / "page.md"
    document.write_text("nothing\n")
    with pytest.raises(ValueError, match="faults:begin"):
        write(document, "new")
