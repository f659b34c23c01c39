"""wsgate for `twistd -y`: edit OPTIONS, then `twistd -ny wsgate.tac`; without n, as a daemon."""

from twisted.application.service import Application

from wsgate.service import Options, makeService

# The words of `twistd wsgate`; `twistd wsgate --help` lists them.
OPTIONS = ["--demo", "--port", "tcp:8080:interface=127.0.0.1"]
# With a configuration file instead:
# OPTIONS = ["--config", "/etc/wsgate.toml"]

application = Application("wsgate")
options = Options()
options.parseOptions(OPTIONS)
makeService(options).setServiceParent(application)
