"""twistd's `--logfile` opened anew, for logrotate and the like, which move it away."""

from __future__ import annotations

from collections.abc import Iterator

from twisted.logger import Logger, globalLogPublisher
from twisted.python.logfile import BaseLogFile

log = Logger(namespace="wsgate")


def reopen_log() -> None:
    """Write on in the file that has the log's name now; made if there is none.

    Where it cannot be opened the log goes on in the file it has, and says so.
    """
    for file in _files():
        try:
            # Twisted closes the old one first, and would be left with none.
            with open(file.path, "ab"):
                pass
            file.reopen()
        except OSError as error:
            log.error(
                "--logfile {path}: cannot be opened anew: {why}; the log goes on as before",
                path=file.path,
                why=error.strerror,
            )


def _files() -> Iterator[BaseLogFile]:
    # Twisted keeps no other way to what twistd has set up; another observer is left alone.
    for observer in getattr(globalLogPublisher, "_observers", ()):
        file = getattr(observer, "_outFile", None)
        if isinstance(file, BaseLogFile):
            yield file
