"""Makes `twistd wsgate` known; wsgate itself is imported only when that is what runs."""

from __future__ import annotations

from twisted.application.service import ServiceMaker

wsgate = ServiceMaker(
    "wsgate",
    "wsgate.service",
    "WebSocket messages to PHP-FPM and back, over FastCGI.",
    "wsgate",
)
