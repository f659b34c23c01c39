"""wsgate answers the messages of WebSocket clients by requests to PHP-FPM."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("wsgate")
except PackageNotFoundError:  # run from a source tree that was never installed
    __version__ = "0+source"
