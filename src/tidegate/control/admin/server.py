"""Serving the admin app: uvicorn on a listening socket that somebody else opened, hardened for strangers.

Not on the data path: this is control's own loop, so that health answers come while workers are flooded (S22.9).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Iterator
from typing import Any, Final

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from tidegate.control.link import same_owner

MOST_CONNECTIONS: Final = 256
"""Open at a time; operators, scrapers and balancers need a dozen."""
HEAD_TIME: Final = 10.0
"""Seconds for a whole request head, counted from the connection or from the answer before (S3.6)."""
IDLE: Final = 15
"""Seconds an idle connection is kept: over the usual scrape interval of balancers, under that of forgotten tabs."""


class AdminProtocol(H11Protocol):
    """One connection, with a cap on how many there are and on how long a head may take; on a Unix socket only for
    processes of our own user or root (C3.1)."""

    head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        opened = transport.get_extra_info("socket")
        foreign = opened is not None and opened.family == socket.AF_UNIX and not same_owner(opened)
        if foreign or len(self.connections) > MOST_CONNECTIONS:
            transport.abort()
        else:
            self._expect_head()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.cycle is not None and not self.cycle.response_complete:
            self._head_is_there()

    def on_response_complete(self) -> None:
        self._expect_head()
        super().on_response_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        self._head_is_there()
        super().connection_lost(exc)

    def _expect_head(self) -> None:
        self._head_is_there()
        self.head_timer = self.loop.call_later(HEAD_TIME + IDLE, self.transport.abort)

    def _head_is_there(self) -> None:
        if self.head_timer is not None:
            self.head_timer.cancel()
            self.head_timer = None


class AdminServer(uvicorn.Server):
    """A server that leaves signals to the process around it."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def make_server(app: ASGIApp) -> AdminServer:
    """A server for *app*; run it with ``serve(sockets=[...])`` and end it with ``should_exit``."""
    logging.getLogger("uvicorn.access").disabled = True
    return AdminServer(
        uvicorn.Config(
            app,
            loop="none",
            http=AdminProtocol,
            ws="none",
            lifespan="off",
            log_config=None,
            log_level="error",
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=IDLE,
            timeout_graceful_shutdown=1,
            h11_max_incomplete_event_size=32 << 10,
        )
    )
