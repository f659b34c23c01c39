"""What wsgate says of itself at /metrics."""

from __future__ import annotations

import socket

from prometheus_client.parser import text_string_to_metric_families


def ask_control(path: str, request: bytes = b"GET /metrics HTTP/1.1") -> bytes:
    """The body of an answer of the control interface at the UNIX socket `path`."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(10)
        connection.connect(path)
        connection.sendall(request + b"\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        answer = b""
        while data := connection.recv(65536):
            answer += data
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 "), head
    return body


class Metrics:
    """All samples of one scrape."""

    def __init__(self, control: str) -> None:
        self._samples = [
            sample
            for family in text_string_to_metric_families(ask_control(control).decode())
            for sample in family.samples
        ]

    def total(self, name: str, **labels: str) -> float:
        """The sum of all samples of this name that have these labels."""
        return sum(
            sample.value
            for sample in self._samples
            if sample.name == name and labels.items() <= sample.labels.items()
        )

    @property
    def unaccounted(self) -> int:
        """Messages that came in and are not done with; 0 at rest, exactly."""
        done = self.total("wsgate_messages_total")
        return int(self.total("wsgate_messages_received_total") - done)

    @property
    def unaccounted_requests(self) -> int:
        """Requests to the pools that came to nothing; 0 at rest, exactly."""
        over = ("wsgate_pool_responses_total", "wsgate_pool_errors_total")
        return int(
            self.total("wsgate_pool_requests_total") - sum(self.total(name) for name in over)
        )
