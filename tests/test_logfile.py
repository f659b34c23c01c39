"""The log file, opened anew."""

import pytest
from twisted.logger import globalLogPublisher, textFileLogObserver
from twisted.python.logfile import LogFile

from wsgate.logfile import log as logger
from wsgate.logfile import reopen_log


@pytest.fixture
def file(tmp_path):
    made = LogFile("a.log", str(tmp_path))
    observer = textFileLogObserver(made)
    globalLogPublisher.addObserver(observer)
    yield tmp_path / "a.log"
    globalLogPublisher.removeObserver(observer)
    made.close()


def test_after_a_rename_the_log_goes_to_a_new_file_of_the_name(file):
    logger.info("one")
    file.rename(file.with_suffix(".1"))
    logger.info("two")
    reopen_log()
    logger.info("three")
    assert "three" in file.read_text()
    assert "two" in file.with_suffix(".1").read_text()
    assert "two" not in file.read_text()


def test_where_no_file_can_be_made_the_log_goes_on_in_the_old_one(file):
    old = file.with_suffix(".1")
    file.rename(old)
    file.mkdir()
    reopen_log()
    logger.info("still here")
    assert "cannot be opened anew: Is a directory" in old.read_text()
    assert "still here" in old.read_text()
