"""Listening sockets: opened once by the supervisor, named by their address as written, shared by every worker.

Not ``SO_REUSEPORT``: with one queue an address a stopped worker takes no waiting connection with it (ARCHITECTURE 11).
"""

from __future__ import annotations

import errno
import os
import socket
from typing import Final

BACKLOG: Final = 2048
"""Connections the kernel holds for us. At 10,000 new ones a second this is 0.2 s of a stalled node; longer queues only
make clients wait for an answer they have given up on. The kernel caps it at ``net.core.somaxconn``."""


class ListenError(Exception):
    """An address cannot be listened on; the text is meant for the operator."""


def listen(host: str, port: int) -> socket.socket:
    """A listening, non-blocking socket on *host* (an address, a name of this machine, or ``""`` for every IPv4 one)
    and *port* (0: any free one). Raises ``ListenError``."""
    where = address_text(host, port)
    try:
        found = socket.getaddrinfo(
            host or "0.0.0.0", port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE | socket.AI_NUMERICSERV
        )
    except (OSError, UnicodeError) as error:
        raise ListenError(f"cannot listen on {where}: the address is not known here") from error
    family, kind, protocol, _, address = found[0]
    opened = socket.socket(family, kind, protocol)
    try:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # Accepted sockets inherit this: one system call less a connection.
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if family == socket.AF_INET6:
            # An IPv4 client must never show up as ::ffff:a.b.c.d, where address lists would not know it.
            opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        opened.setblocking(False)
        opened.bind(address)
        opened.listen(BACKLOG)
    except OSError as error:
        opened.close()
        if error.errno == errno.EADDRINUSE:
            raise ListenError(f"cannot listen on {where}: another program is using it") from error
        raise ListenError(f"cannot listen on {where}: {os.strerror(error.errno or 0)}") from error
    return opened


def adopt(fd: int) -> socket.socket:
    """The listening socket behind *fd*, inherited or received; it is closed with the object."""
    adopted = socket.socket(fileno=fd)
    adopted.setblocking(False)
    return adopted


def address_text(host: str, port: int) -> str:
    """``host:port`` as one writes it, IPv6 in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host or '0.0.0.0'}:{port}"


def bound(listening: socket.socket) -> str:
    """Where *listening* really listens; tells the port behind a configured 0."""
    name = listening.getsockname()
    return address_text(name[0], name[1])


def loopback(host: str) -> bool:
    """Whether only this machine can reach *host*, as written in a config."""
    return host in ("localhost", "::1") or host.startswith("127.")
