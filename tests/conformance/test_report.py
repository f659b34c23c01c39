from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.conformance.report import (
    Result,
    load_expected,
    problems,
    read_report,
    select,
    table,
)

GOOD = Result("OK", "OK", 5)
INFORMATIONAL = Result("INFORMATIONAL", "INFORMATIONAL", 5)
EXPECTED = load_expected(Path(__file__).with_name("expected.toml"))


def test_the_suite_has_301_cases_without_compression_and_216_with():
    assert len(EXPECTED.cases) == len(set(EXPECTED.cases)) == 517
    assert len(select(EXPECTED.cases, ["1-10"])) == 301
    assert len(select(EXPECTED.cases, ["12-13"])) == 216


def test_only_three_cases_may_be_other_than_ok():
    assert EXPECTED.allowed == dict.fromkeys(("7.1.6", "7.13.1", "7.13.2"), "INFORMATIONAL")


def test_a_report_with_every_case_ok_has_no_problems():
    assert problems({"1.1.1": GOOD, "1.1.2": GOOD}, ["1.1.1", "1.1.2"], {}) == []


def test_a_missing_case_is_a_problem():
    assert problems({"1.1.1": GOOD}, ["1.1.1", "1.1.2"], {}) == ["1.1.2: missing in the report"]


def test_an_extra_case_is_a_problem():
    assert problems({"1.1.1": GOOD, "1.1.2": GOOD}, ["1.1.1"], {}) == [
        "1.1.2: in the report, but not among the cases to run"
    ]


@pytest.mark.parametrize("behaviour", ["FAILED", "NON-STRICT", "INFORMATIONAL", "UNIMPLEMENTED"])
def test_a_case_that_is_not_ok_and_not_listed_is_a_problem(behaviour):
    assert problems({"1.1.1": Result(behaviour, "OK", 5)}, ["1.1.1"], {}) == [
        f"1.1.1: {behaviour}, must be OK"
    ]


@pytest.mark.parametrize("behaviour", ["FAILED", "WRONG CODE", "UNCLEAN", "FAILED BY CLIENT"])
def test_a_case_that_closes_wrongly_is_a_problem(behaviour):
    assert problems({"1.1.1": Result("OK", behaviour, 5)}, ["1.1.1"], {}) == [
        f"1.1.1: {behaviour} on close, must be OK"
    ]


def test_a_listed_case_may_be_what_the_list_says_and_nothing_else():
    allowed = {"7.1.6": "INFORMATIONAL"}
    assert problems({"7.1.6": INFORMATIONAL}, ["7.1.6"], allowed) == []
    assert problems({"7.1.6": Result("FAILED", "OK", 5)}, ["7.1.6"], allowed) == [
        "7.1.6: FAILED, must be INFORMATIONAL"
    ]
    assert problems({"7.1.6": GOOD}, ["7.1.6"], allowed) == ["7.1.6: OK, must be INFORMATIONAL"]


def test_a_report_that_was_never_written_misses_every_case(tmp_path):
    results = read_report(tmp_path / "index.json", "wsgate")
    assert problems(results, ["1.1.1", "1.1.2"], {}) == [
        "1.1.1: missing in the report",
        "1.1.2: missing in the report",
    ]


def test_an_index_is_read_for_its_agent(tmp_path):
    index = tmp_path / "index.json"
    entry = {"behavior": "OK", "behaviorClose": "UNCLEAN", "duration": 12, "remoteCloseCode": 1000}
    index.write_text(json.dumps({"wsgate": {"1.1.1": entry}, "other": {"1.1.2": entry}}))
    assert read_report(index, "wsgate") == {"1.1.1": Result("OK", "UNCLEAN", 12)}
    assert read_report(index, "nobody") == {}


@pytest.mark.parametrize(
    ("pattern", "count"), [("1", 16), ("1-2", 27), ("12.*.1-6", 30), ("*", 517), ("9.1.6", 1)]
)
def test_a_pattern_chooses_cases_by_number_range_and_star(pattern, count):
    assert len(select(EXPECTED.cases, [pattern])) == count


def test_patterns_that_overlap_choose_a_case_once_and_in_order():
    assert select(EXPECTED.cases, ["1.1.2-3", "1.1.1-2"]) == ("1.1.1", "1.1.2", "1.1.3")


@pytest.mark.parametrize("pattern", ["8", "1.1.9", "1.1.1.1", "one", ""])
def test_a_pattern_that_matches_no_case_is_an_error(pattern):
    with pytest.raises(ValueError, match=r"matches no case|invalid literal"):
        select(EXPECTED.cases, [pattern])


def test_an_allowance_without_a_reason_is_an_error(tmp_path):
    path = tmp_path / "expected.toml"
    path.write_text('[cases]\n"1" = 1\n[[allowed]]\ncase = "1.1"\nbehaviour = "NON-STRICT"\n')
    with pytest.raises(ValueError, match="without a reason"):
        load_expected(path)


def test_an_allowance_for_no_case_of_the_suite_is_an_error(tmp_path):
    path = tmp_path / "expected.toml"
    path.write_text(
        '[cases]\n"1" = 1\n[[allowed]]\ncase = "1.2"\nbehaviour = "OK"\nreason = "none"\n'
    )
    with pytest.raises(ValueError, match=r"no case 1\.2"):
        load_expected(path)


def test_the_table_counts_by_group_and_in_all():
    results = {"1.1": GOOD, "2.1": Result("FAILED", "OK", 1500), "2.2": INFORMATIONAL}
    assert table(results, ["1.1", "2.1", "2.2", "2.3"]).splitlines() == [
        "group  cases  OK  NON-STRICT  INFORMATIONAL  FAILED  missing      time",
        "    1      1   1           0              0       0        0     0.0 s",
        "    2      3   0           0              1       1        1     1.5 s",
        "  all      4   1           0              1       1        1     1.5 s",
    ]
