"""`python -m wsgate ARGS` is `twistd -n --pidfile= wsgate ARGS`: the gateway in the foreground."""

from __future__ import annotations

import sys

from twisted.scripts import twistd


def main() -> None:
    """Run the gateway with the options of the command line until it is stopped."""
    sys.argv[1:] = ["--nodaemon", "--pidfile=", "wsgate", *sys.argv[1:]]
    twistd.run()


if __name__ == "__main__":
    main()
