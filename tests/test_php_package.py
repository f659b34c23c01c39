"""The PHP package in php/: its own tests, its syntax, and that only PHP's users get it."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "php"
SOURCES = sorted(PACKAGE.rglob("*.php"))

pytestmark = pytest.mark.skipif(
    shutil.which("php") is None, reason="needs PHP's command line (php-cli)"
)


def php(*arguments):
    return subprocess.run(
        ["php", *map(str, arguments)], capture_output=True, text=True, check=False, timeout=120
    )


def test_its_own_tests_pass():
    ran = php(PACKAGE / "tests/run.php")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert re.fullmatch(r"\d\d+ passed, 0 failed\n", ran.stdout)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_every_file_is_valid_and_says_strict_types(path):
    checked = php("-d", "error_reporting=-1", "-l", path)
    assert checked.returncode == 0, checked.stdout
    assert "declare(strict_types=1);" in path.read_text(encoding="utf-8")


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_file_uses_what_php_8_1_has_not(path):
    text = path.read_text(encoding="utf-8")
    # 8.2: readonly classes, the types true, false and null alone; 8.3: typed constants.
    assert not re.search(r"\breadonly\s+class\b|\bclass\s+readonly\b", text)
    assert not re.search(r"\bfunction\b[^;{]*\)\s*:\s*(true|false|null)\b", text)
    assert not re.search(r"\bconst\s+\??\w+\s+\w+\s*=", text)


@pytest.mark.parametrize(
    "path", sorted(PACKAGE.rglob("src/**/*.php")), ids=lambda path: str(path.relative_to(PACKAGE))
)
def test_every_class_is_final_and_where_psr_4_looks_for_it(path):
    text = path.read_text(encoding="utf-8")
    (kind, name) = re.search(
        r"^((?:final |abstract )?class|enum|interface) (\w+)", text, re.M
    ).groups()
    assert kind != "class"
    namespace = re.search(r"^namespace ([\w\\]+);", text, re.M)[1]
    assert namespace.replace("Wsgate", "src", 1).replace("\\", "/") + f"/{name}.php" == str(
        path.relative_to(PACKAGE)
    )


def test_it_needs_nothing_but_php():
    composer = json.loads((PACKAGE / "composer.json").read_text(encoding="utf-8"))
    assert composer["require"] == {"php": ">=8.1"}
    assert composer["autoload"] == {"psr-4": {"Wsgate\\": "src/"}}
