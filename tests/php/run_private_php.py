"""A small Python program around one PrivatePHP, for the tests that kill its parts.

`python -m tests.php.run_private_php '{"program": "/usr/sbin/php-fpm8.2", "workers": 2}'` tells what
happens as JSON, one line each; SIGTERM stops it. Keys besides `program`: those of PrivatePHP, and
`descriptor`: a file to hold open, inheritable, which PHP must not get.
"""

import json
import os
import signal
import sys


def tell(event, **facts):
    print(json.dumps({"event": event, **facts}), flush=True)


def main(program, workers=2, ini=None, user=None, descriptor=None, **keywords):
    # As twistd in a shell without job control: a Ctrl-C must reach nobody but wsgate.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    from twisted.internet import reactor
    from twisted.logger import formatEvent, globalLogBeginner

    from wsgate.php import PHPError, PrivatePHP, find_php

    def observe(event):
        tell("log", level=event["log_level"].name, text=formatEvent(event))

    globalLogBeginner.beginLoggingTo([observe], redirectStandardIO=False, discardBuffer=True)
    if descriptor:
        os.set_inheritable(os.open(descriptor, os.O_RDONLY), True)
    try:
        php = PrivatePHP(
            reactor,
            find_php(program),
            name="default",
            workers=workers,
            ini=ini or {},
            user=user,
            on_ready=lambda: tell("ready"),
            on_gone=lambda: tell("gone"),
            **keywords,
        )
    except PHPError as error:
        sys.exit(str(error))
    php.startService()
    tell("started", socket=php.socket_path)
    reactor.addSystemEventTrigger("before", "shutdown", php.stopService)
    reactor.run()
    tell("stopped")


if __name__ == "__main__":
    main(**json.loads(sys.argv[1]))
