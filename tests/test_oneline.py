"""wsgate.oneline: what comes from outside cannot forge a log line."""

from hypothesis import given
from hypothesis import strategies as st

from wsgate.oneline import one_line


def test_line_ends_and_escape_sequences_become_visible():
    assert one_line(b"PHP message: a\nb\r\n\x1b[31mred") == "PHP message: a | b | \\x1b[31mred"


def test_a_text_of_the_limit_is_whole_and_a_longer_one_is_cut():
    assert one_line("x" * 10, limit=10) == "x" * 10
    assert one_line("x" * 11, limit=10) == "x" * 9 + "…"


@given(st.one_of(st.binary(), st.text()))
def test_anything_becomes_one_printable_line(text):
    line = one_line(text)
    assert len(line.splitlines()) <= 1
    assert not any(ord(c) < 0x20 or 0x7F <= ord(c) < 0xA0 for c in line)
