"""wsgate.demo: one page that needs nothing else, and scripts where PHP can read them."""

import base64
import hashlib
import html
import os
import re
from pathlib import Path

from wsgate import demo


def test_the_page_is_one_file_without_anything_from_elsewhere():
    text = demo.page()[1].decode()
    assert len(re.findall("<style", text)) == len(re.findall("<script", text)) == 1
    assert not re.search(r"(src|href)=[\"'](?!data:)", text)
    assert not re.search(r"\s(style|on[a-z]+)=", text)
    assert "innerHTML" not in text
    assert "{{" not in text.split("<script>")[0]


def test_the_policy_allows_exactly_the_pages_own_style_and_script():
    headers, body = demo.page()
    policy = dict(headers)["Content-Security-Policy"]
    for element in ("style", "script"):
        content = re.search(rf"<{element}>(.*?)</{element}>".encode(), body, re.S)[1]
        digest = base64.b64encode(hashlib.sha256(content).digest()).decode()
        assert f"{element}-src 'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none'; ")
    assert "unsafe" not in policy


def test_the_page_shows_the_script_that_answers():
    text = demo.page()[1].decode()
    assert html.escape(demo.script_source("echo.php").decode().strip()) in text


def test_the_echo_is_five_lines():
    assert demo.script_source("echo.php").count(b"\n") == 5


def test_every_label_and_button_of_the_page_names_something_that_exists():
    text = demo.page()[1].decode()
    ids = re.findall(r'\bid="([a-z-]+)"', text)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'\bfor="([a-z-]+)"', text)) <= set(ids)
    assert set(re.findall(r'aria-labelledby="([a-z-]+)"', text)) <= set(ids)
    assert set(re.findall(r'\$\("([a-z-]+)"\)', text)) <= set(ids)


def test_the_scripts_are_used_where_they_lie_when_php_can_read_them():
    folder = Path(demo.script_folder(lambda _path: True))
    assert folder == Path(demo.__file__).parent
    assert all((folder / name).is_file() for _, name in demo.ROUTES)


def test_scripts_that_php_cannot_read_are_copied_to_where_it_can():
    folder = Path(demo.script_folder(lambda path: not path.endswith("classic.php")))
    assert folder != Path(demo.__file__).parent
    for _, name in demo.ROUTES:
        assert (folder / name).read_bytes() == demo.script_source(name)
        assert (folder / name).stat().st_mode & 0o777 == 0o644
    assert folder.stat().st_mode & 0o777 == 0o755
    assert folder.stat().st_uid == os.geteuid()
