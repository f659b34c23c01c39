"""wsgate.config.page: docs/settings.md is what the settings say."""

import subprocess
import sys
from pathlib import Path

import pytest

from wsgate.config import Gateway, Limits, Pool, Route
from wsgate.config.about import described
from wsgate.config.page import settings_page

PAGE = Path(__file__).parents[2] / "docs" / "settings.md"


def test_the_page_in_docs_is_up_to_date():
    assert PAGE.read_text() == settings_page(), "run: python -m wsgate.config > docs/settings.md"


def test_the_command_prints_the_page():
    command = [sys.executable, "-m", "wsgate.config"]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == (
        settings_page()
    )


@pytest.mark.parametrize("section", [Gateway, Limits, Pool, Route])
def test_every_setting_has_a_row_of_six_cells(section):
    rows = [line for line in settings_page().splitlines() if line.startswith("| `")]
    for name in described(section):
        row = next(row for row in rows if row.startswith(f"| `{name}` |"))
        assert row.replace("\\|", "").count("|") == 7


def test_a_default_is_shown_as_one_would_write_it():
    page = settings_page()
    assert "| `max_message_size` | `1MiB` | size, 1 byte to 1GiB |" in page
    assert "| `ping_interval` | `25s` | time, 100ms to 24h, or 0 for none |" in page
    assert "| `compression` | `false` | true or false |" in page
    assert "| `keep_connections` | automatic | true or false |" in page
    assert "| `script` | must be given | file |" in page
    assert "| `php` | none | program |" in page
