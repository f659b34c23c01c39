"""Looking, every few seconds, whether the files of certificates have changed."""

from __future__ import annotations

from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from wsgate.tls.renewal import Certificates

log = Logger(namespace="wsgate")


class CertificateWatch(Service):
    """Lets `certificates` look at their files every `interval` seconds; 0: never.

    Started after privileges are dropped, it says so when the files can no longer be read.
    """

    def __init__(self, clock: IReactorTime, certificates: Certificates, interval: float) -> None:
        self._certificates = certificates
        self._interval = interval
        self._looking = LoopingCall(certificates.look)
        self._looking.clock = clock

    def startService(self) -> None:
        """Begin to look."""
        super().startService()
        self._certificates.warn_if_unreadable()
        if self._interval:
            looking: Deferred[Any] = self._looking.start(self._interval, now=False)
            looking.addErrback(self._failed)

    def stopService(self) -> None:
        """Look no more."""
        super().stopService()
        if self._looking.running:
            self._looking.stop()

    def _failed(self, failure: Failure) -> None:
        log.failure("certificates are no longer watched", failure)
