"""The documents: links lead somewhere, commands are accepted, examples are valid PHP and TOML."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from wsgate.gateway.answer import FAILURES, INTERNAL
from wsgate.options import Options

ROOT = Path(__file__).parent.parent
DOCUMENTS = sorted(
    path
    for pattern in ("*.md", "docs/*.md", "php/*.md", "examples/*.md")
    for path in ROOT.glob(pattern)
)

# An option whose value is a file or a folder that has to be there.
CONFIGS = ("-c", "--config")
FILES = ("-s", "--script", "--certificate", "--private-key", "--control-token-file", *CONFIGS)
FOLDERS = ("--certificates",)


class Block(NamedTuple):
    """A fenced block of code, and where it begins."""

    place: str
    language: str
    text: str


def blocks(language):
    found = []
    for document in DOCUMENTS:
        text = document.read_text(encoding="utf-8")
        for match in re.finditer(r"^```(\w*)\n(.*?)^```$", text, re.M | re.S):
            line = text.count("\n", 0, match.start()) + 1
            place = f"{document.relative_to(ROOT)}:{line}"
            found.append(Block(place, match[1], match[2]))
    return [pytest.param(block, id=block.place) for block in found if block.language == language]


def prose(document):
    """The text without its code, fenced or not."""
    text = re.sub(r"^```.*?^```$", "", document.read_text(encoding="utf-8"), flags=re.M | re.S)
    return re.sub(r"`[^`\n]*`", lambda match: " " * len(match[0]), text)


def anchors(document):
    """The names that GitHub gives the headings."""
    text = re.sub(r"^```.*?^```$", "", document.read_text(encoding="utf-8"), flags=re.M | re.S)
    headings = re.findall(r"^#+ (.*)$", text, re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_link_leads_to_a_file_and_a_heading_that_exist(document):
    for link in re.findall(r"\]\(([^)\s]+)\)", prose(document)):
        if re.match(r"https?://", link):
            continue
        name, _, anchor = link.partition("#")
        target = (document.parent / name).resolve() if name else document
        assert target.exists(), f"{link}: no such file"
        if anchor:
            assert anchor in anchors(target), f"{link}: no such heading"


def test_the_index_names_every_document():
    index = (ROOT / "docs/README.md").read_text(encoding="utf-8")
    for document in ROOT.glob("docs/*.md"):
        assert document.name == "README.md" or f"]({document.name})" in index


def test_the_readme_fits_one_screen():
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 70


def commands():
    """Every complete command line for wsgate: its place and the words after `wsgate`."""
    found = []
    for parameter in blocks("sh"):
        block = parameter.values[0]
        for line in block.text.splitlines():
            # A placeholder in brackets is a form, not a command.
            if not re.match(r"(\S*/)?twistd .*\bwsgate\b|python -m wsgate\b", line) or "[" in line:
                continue
            words = shlex.split(line, comments=True)
            if "wsgate" in words:
                arguments = words[len(words) - words[::-1].index("wsgate") :]
                found.append(pytest.param(arguments, id=f"{block.place} {line}"))
    return found


def made_here(folder, name, content=""):
    """A file below `folder` that stands for the file `name`."""
    path = folder / name.lstrip("/")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content, encoding="utf-8")
    return str(path)


def with_files(arguments, folder):
    """The arguments, with a file or folder below `folder` for each that they name."""
    script = made_here(folder, "srv/any.php", "<?php\n")
    config = f'[[route]]\nscript = "{script}"\n'
    result = list(arguments)
    for index, word in enumerate(arguments[:-1]):
        value = arguments[index + 1]
        if word in FILES:
            result[index + 1] = made_here(folder, value, config if word in CONFIGS else "")
        elif word in FOLDERS:
            result[index + 1] = made_here(folder, f"{value}/any.pem")[: -len("/any.pem")]
    return result


def test_there_are_commands_to_try():
    assert len(commands()) >= 5


@pytest.mark.parametrize("arguments", commands())
def test_every_command_line_is_accepted(arguments, tmp_path):
    ended_with = 0
    try:
        Options().parseOptions(with_files(arguments, tmp_path))
    except SystemExit as ended:
        # --check, --version and --help end here too, with 0; a complaint is a text.
        ended_with = ended.code
    assert ended_with in (0, None)


@pytest.mark.parametrize("block", blocks("toml"))
def test_every_toml_example_is_accepted(block, tmp_path):
    def real(match):
        name = match[1]
        if name.endswith((".php", ".pem", ".key", ".token", ".password", "secret")):
            return f'"{made_here(tmp_path, name)}"'
        (tmp_path / name.lstrip("/")).mkdir(parents=True, exist_ok=True)
        return f'"{tmp_path / name.lstrip("/")}"'

    # Absolute names of files and folders, and scripts beside the file; no URLs, no UNIX sockets.
    text = re.sub(r'"(/(?:srv|etc)/[^"]*)"', real, block.text)
    text = re.sub(r'"([\w.-]+\.(?:php|key|secret))"', real, text)
    if "[[route]]" not in text:
        text += f'\n[[route]]\nscript = "{made_here(tmp_path, "any.php")}"\n'
    options = Options()
    options.parseOptions(["--config", made_here(tmp_path, "wsgate.toml", text)])
    assert options.settings.routes


@pytest.mark.skipif(shutil.which("php") is None, reason="needs PHP's command line (php-cli)")
@pytest.mark.parametrize("block", blocks("php"))
def test_every_php_example_is_valid(block):
    assert block.text.startswith("<?php\n")
    checked = subprocess.run(
        ["php", "-l"], input=block.text, capture_output=True, text=True, check=False, timeout=30
    )
    assert checked.returncode == 0, checked.stdout


def test_the_table_of_errors_has_every_row_of_the_code():
    rows = re.findall(
        r"^\| ([^|]*) \| `([^`]*)` \|", (ROOT / "docs/client.md").read_text(encoding="utf-8"), re.M
    )
    documented = {(status.split(",")[0].split(" or ")[0], reason) for status, reason in rows}
    for failure in [*FAILURES.values(), INTERNAL]:
        assert (str(failure.status), failure.reason) in documented


def test_every_variable_of_the_code_is_in_the_list_for_php():
    text = (ROOT / "docs/php.md").read_text(encoding="utf-8")
    for module in ("cgi.py", "gateway/route.py"):
        source = (ROOT / "src/wsgate" / module).read_text(encoding="utf-8")
        names = re.findall(r'b"([A-Z]+_[A-Z_]*[A-Z]|HTTPS)"', source)
        assert names, module
        for name in names:
            assert f"`{name}`" in text, f"{module} sends {name}"


def test_the_tac_file_makes_an_application():
    program = (
        "from twisted.application import service;"
        "application = service.loadApplication('wsgate.tac', 'python');"
        "print([child.name for child in service.IServiceCollection(application)])"
    )
    made = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert made.stdout == "['wsgate']\n", made.stderr


def test_the_unit_starts_what_the_documents_install():
    unit = (ROOT / "contrib/wsgate.service").read_text(encoding="utf-8")
    deployment = (ROOT / "docs/deployment.md").read_text(encoding="utf-8")
    (program,) = re.findall(r"^ExecStart=(\S+)", unit, re.M)
    assert f"\n{program} wsgate --version\n" in deployment
    (config,) = re.findall(r"--config (\S+)", unit)
    assert f"--config {config}" in deployment
