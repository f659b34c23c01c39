"""What php-fpm says of its workers, asked at its status socket, which a busy pool answers too."""

from __future__ import annotations

import json
import socket
import struct
from typing import NamedTuple

from tests.faults.scripted_fastcgi import BEGIN, PARAMS, STDIN, record
from tests.integration.php_fpm import PHPFPM


class Processes(NamedTuple):
    """Workers that have a request, and workers that have none."""

    active: int
    idle: int


def fpm_processes(fpm: PHPFPM) -> Processes:
    """The workers of php-fpm now. AssertionError if it does not answer."""
    params = {
        "SCRIPT_NAME": "/status",
        "SCRIPT_FILENAME": "/status",
        "REQUEST_METHOD": "GET",
        "QUERY_STRING": "json",
    }
    pairs = b"".join(
        struct.pack("BB", len(name), len(value)) + name.encode() + value.encode()
        for name, value in params.items()
    )
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(5)
        connection.connect(fpm.status_socket)
        connection.sendall(
            record(BEGIN, struct.pack(">HB5x", 1, 0))
            + record(PARAMS, pairs)
            + record(PARAMS)
            + record(STDIN)
        )
        answer = b""
        while data := connection.recv(65536):
            answer += data
    start = answer.index(b"{")
    status = json.JSONDecoder().raw_decode(answer[start:].decode("latin-1"))[0]
    return Processes(status["active processes"], status["idle processes"])
