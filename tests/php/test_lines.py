"""PHP's log: cut into lines, escaped, given a level."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.logger import LogLevel

from wsgate.php.lines import LineSplitter, escaped, read_log_line


@given(st.binary(), st.lists(st.integers(0, 60)))
def test_any_split_of_the_stream_gives_the_same_lines(data, cuts):
    whole = LineSplitter(10)
    expected = whole.feed(data) + whole.flush()
    pieces, lines, last = LineSplitter(10), [], 0
    for cut in [*sorted(min(cut, len(data)) for cut in cuts), len(data)]:
        lines += pieces.feed(data[last:cut])
        last = cut
    assert lines + pieces.flush() == expected


def test_a_line_of_the_longest_length_is_whole_and_a_longer_one_is_cut():
    assert LineSplitter(4).feed(b"1234\n12345\nx\n") == [b"1234", b"1234...", b"x"]


def test_a_line_that_never_ends_takes_no_memory():
    splitter = LineSplitter(100)
    for _ in range(1000):
        assert splitter.feed(b"x" * 1000) == []
    assert splitter.flush() == [b"x" * 100 + b"..."]


def test_empty_lines_and_carriage_returns_at_the_end_are_dropped():
    assert LineSplitter().feed(b"\n\r\na\r\n\n") == [b"a"]


@given(st.binary())
def test_an_escaped_line_is_printable(line):
    assert escaped(line).isprintable()


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("grün".encode(), "grün"),
        (b"\x1b[31mred", r"\x1b[31mred"),
        (b"a\rb\tc", r"a\rb\tc"),
        (b"\xff", r"\xff"),
        ("\u202egnp.exe\u2028".encode(), r"\u202egnp.exe\u2028"),
    ],
)
def test_what_could_forge_or_hide_a_line_is_escaped(line, text):
    assert escaped(line) == text


@pytest.mark.parametrize(
    ("line", "level", "text"),
    [
        ("[22-Nov-2026 21:18:32] NOTICE: ready", LogLevel.debug, "ready"),
        ("[22-Nov-2026 21:18:32] WARNING: [pool x] slow", LogLevel.warn, "[pool x] slow"),
        ("[22-Nov-2026 21:18:32] ERROR: no", LogLevel.error, "no"),
        ("[22-Nov-2026 21:18:32] ALERT: no", LogLevel.error, "no"),
        ("ERROR: cannot run", LogLevel.error, "cannot run"),
        (
            "NOTICE: PHP message: PHP Fatal error:  x",
            LogLevel.debug,
            "PHP message: PHP Fatal error:  x",
        ),
        ("[22-N] NOTICE: PHP message: PHP Fatal error:  x", LogLevel.error, "PHP Fatal error:  x"),
        ("PHP Warning:  PHP Startup: x", LogLevel.warn, "PHP Warning:  PHP Startup: x"),
        ("PHP Parse error: x", LogLevel.error, "PHP Parse error: x"),
        ("#0 {main}", LogLevel.debug, "#0 {main}"),
        ("hello", LogLevel.info, "hello"),
    ],
)
def test_the_level_is_the_one_that_php_gave(line, level, text):
    assert read_log_line(line.encode()) == (level, text)
