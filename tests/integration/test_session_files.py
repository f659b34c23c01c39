"""Session files of a real PHP, read while it works on them."""

import subprocess
import time

import pytest

from tests.integration.gateway_process import eventually
from tests.integration.php_sessions import HOLDING, ID, php_command, save
from wsgate.hooks.session import files, formats
from wsgate.hooks.session.files import Place, Rules, Unsettled

RULES = Rules(max_size=2**20, max_age=1440, owner=None)


def read(save_path):
    return files.read(Place.parse(save_path).path(ID), RULES, time.time())


@pytest.mark.parametrize("handler", formats.READERS)
def test_what_php_saves_is_found(handler, tmp_path):
    save("'user_id' => 42", str(tmp_path), f"session.serialize_handler={handler}")
    assert formats.read(read(str(tmp_path)), handler) == {b"user_id": 42}


def test_folders_inside_folders_are_those_of_php(tmp_path):
    (tmp_path / ID[0] / ID[1]).mkdir(parents=True)
    save("'user_id' => 42", f"'2;0640;{tmp_path}'")
    (file,) = (tmp_path / ID[0] / ID[1]).iterdir()
    assert file.stat().st_mode & 0o777 == 0o640
    assert read(f"2;0640;{tmp_path}") == b"user_id|i:42;"


WRITING = """
session_id('%s');
for ($i = 0; $i < 2000; $i++) {
    session_start();
    $_SESSION = ['first' => $i, 'pad' => str_repeat('x', $i * 7919 %% 40000), 'last' => $i];
    session_write_close();
    usleep(500);
}
"""


def test_no_session_is_read_half_written(tmp_path):
    save("'first' => 0, 'last' => 0", str(tmp_path))
    command = php_command(WRITING % ID, str(tmp_path))
    seen = set()
    with subprocess.Popen(command) as writing:
        while writing.poll() is None:
            try:
                session = formats.read(read(str(tmp_path)), "php")
            except Unsettled:
                continue
            assert session[b"first"] == session[b"last"]
            seen.add(session[b"first"])
    assert writing.returncode == 0
    # It was read at different moments of the writer's work.
    assert len(seen) > 5


def test_a_script_that_holds_a_session_is_not_waited_for(tmp_path):
    save("'user_id' => 42", str(tmp_path))
    command = php_command(HOLDING % ID, str(tmp_path))
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holding:
        assert holding.stdout.read(4) == b"held"

        def found():
            try:
                return read(str(tmp_path))
            except Unsettled:
                return None

        # What was saved before, as soon as it is old enough not to be half of what comes.
        assert eventually(found, 10, "the session is read") == b"user_id|i:42;"
        holding.stdin.write(b"\n")
        holding.stdin.close()
        holding.wait(30)
    assert read(str(tmp_path)) == b'user_id|s:16:"nobody yet knows";'
