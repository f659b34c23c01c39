"""The pages of docs/, whose code tests run as it is written there."""

import re
from pathlib import Path

DOCS = Path(__file__).parents[1] / "docs"


def page(name: str) -> str:
    """The text of docs/NAME."""
    return (DOCS / name).read_text(encoding="utf-8")


def blocks(text: str, language: str) -> list[str]:
    """The code blocks of that language in a page, or in a part of one."""
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.M | re.S)
