"""wsgate.oneline: what comes from outside cannot forge a log line."""

from hypothesis import given
from hypothesis import strategies as st

from wsgate.oneline import one_line


def test_line_ends_and_escape_sequences_become_visible():
    assert one_line(b"PHP message: a\nb\r\n\x1b[31mred") == "PHP message: a | b | \\x1b[31mred"


def test_a_text_of_the_limit_is_whole_and_a_longer_one_is_cut():
    assert one_line("x" * 10, limit=10) == "x" * 10
    assert one_line("x" * 11, limit=10) == "x" * 9 + "…"


def test_what_turns_the_direction_of_writing_or_no_file_can_hold_becomes_visible():
    assert one_line("a\u202eb\ud800c\U000e0001d\xade") == "a\\u202eb\\ud800c\\U000e0001d\\xade"


def test_letters_of_any_script_stay():
    assert one_line("Grüße, 世界, שלום 🙂") == "Grüße, 世界, שלום 🙂"


ANYTHING = st.text(st.characters(exclude_categories=()))


@given(st.one_of(st.binary(), ANYTHING), st.integers(1, 40))
def test_anything_becomes_one_printable_line_of_at_most_the_limit(text, limit):
    line = one_line(text, limit)
    assert line.isprintable()
    assert len(line) <= limit
    line.encode()
