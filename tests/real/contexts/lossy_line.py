"""A line between a client and the gateway that loses what it is told to lose: requests that arrived, answers that were
given."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections import deque
from typing import Final, Literal

Loss = Literal["", "request", "answer"]
"""``request``: it is delivered, and the line breaks before an answer; ``answer``: it was given, and is lost."""

PAUSE: Final = 0.05
"""Seconds that a request is left to be worked on before the line breaks."""


class LossyLine:
    """One request a connection. ``losses`` are taken one a request; afterwards all goes through."""

    def __init__(self, port: int) -> None:
        self.gateway = port
        self.losses: deque[Loss] = deque()
        self.requests = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, contextlib.suppress(OSError):
            request = _request(client)
            if not request:
                return
            self.requests += 1
            loss = self.losses.popleft() if self.losses else ""
            with socket.create_connection(("127.0.0.1", self.gateway), timeout=20) as gateway:
                gateway.sendall(request)
                if loss == "request":
                    gateway.settimeout(PAUSE)
                    with contextlib.suppress(TimeoutError):
                        gateway.recv(1)
                    return
                while data := gateway.recv(65536):
                    if loss != "answer":
                        client.sendall(data)


def _request(client: socket.socket) -> bytes:
    """One whole request, which asks for the connection to end with its answer."""
    client.settimeout(20)
    data = b""
    while b"\r\n\r\n" not in data:
        piece = client.recv(65536)
        if not piece:
            return b""
        data += piece
    head, _, body = data.partition(b"\r\n\r\n")
    lines = [line for line in head.split(b"\r\n") if not line.lower().startswith(b"connection:")]
    length = next(int(line.split(b":")[1]) for line in lines if line.lower().startswith(b"content-length:"))
    while len(body) < length:
        body += client.recv(65536)
    return b"\r\n".join([*lines, b"connection: close"]) + b"\r\n\r\n" + body
