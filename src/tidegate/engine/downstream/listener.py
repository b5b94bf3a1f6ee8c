"""One listening address in one worker: accepting by hand, so that connections spread over the workers and a flood or
a lack of descriptors is answered by not accepting (S3.9, ARCHITECTURE 11).
"""

from __future__ import annotations

import asyncio
import errno
import resource
import socket
import ssl
from typing import Any, Final

from tidegate.engine.downstream.http1_connection import Http1Connection
from tidegate.engine.downstream.tls import server_context
from tidegate.engine.runtime import Runtime
from tidegate.exchange.exchange import Peer
from tidegate.exchange.fault import Fault
from tidegate.ports.plan import ListenerPlan
from tidegate.wire.proxy_protocol import Announced, parse

REST: Final = 0.002
"""How long a worker with more than its share of connections leaves the socket alone."""

AT_ONCE: Final = 64
"""Connections taken in one turn of a loop that is late. One a turn spreads them better over idle workers, but long
turns are few, and who is not accepted waits with its request unread."""

EXHAUSTED_REST: Final = 1.0
DESCRIPTOR_ERRORS: Final = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
PROXY_WAIT: Final = 10.0
PROXY_PEEK: Final = 4352
PROXY_PAUSE: Final = 0.02


class Listener:
    """Mutable state: ``plan`` (replaced by a reload), ``context`` (replaced when certificates change), ``open``
    connections, ``by_address`` how many of them each client holds."""

    def __init__(self, runtime: Runtime, plan: ListenerPlan, sock: socket.socket) -> None:
        self.runtime = runtime
        self.plan = plan
        self.sock = sock
        self.context: ssl.SSLContext | None = server_context(plan.tls) if plan.tls is not None else None
        self.open = 0
        self.by_address: dict[str, int] = {}
        self.proxied: dict[Any, Announced] = {}
        self.listening = False
        self.stopped = False
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        self.cap = max(16, soft // 2)
        self.address_cap = max(8, int(self.cap * runtime.plan.limits.per_address / 100.0))
        sock.setblocking(False)

    def apply(self, plan: ListenerPlan) -> None:
        """A reload: new settings and certificates for new connections; nobody is cut (S3.11)."""
        self.context = server_context(plan.tls) if plan.tls is not None else None
        self.plan = plan

    # -- accepting ---------------------------------------------------------------------------------------------------

    def listen(self) -> None:
        if not self.listening and not self.stopped:
            self.listening = True
            self.runtime.loop.add_reader(self.sock.fileno(), self._accept)

    def rest(self, seconds: float) -> None:
        """Leave waiting connections to the other workers for a while."""
        if self.listening:
            self.listening = False
            self.runtime.loop.remove_reader(self.sock.fileno())
            self.runtime.loop.call_later(seconds, self.listen)

    def stop(self) -> None:
        """Take what waits already, then no more (S23.5)."""
        if self.stopped:
            return
        if self.listening:
            self.listening = False
            self.runtime.loop.remove_reader(self.sock.fileno())
        for _ in range(1024):
            if not self._accept_one():
                break
        self.stopped = True

    def _accept(self) -> None:
        runtime = self.runtime
        if runtime.has_more_than_its_share():
            self.rest(REST)
            return
        if runtime.pressed:
            self.rest(0.05)
            return
        more = AT_ONCE if runtime.guarded else 1
        while self._accept_one():
            more -= 1
            if more <= 0 or runtime.has_more_than_its_share():
                return

    def _accept_one(self) -> bool:
        try:
            connection, address = self.sock.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return False
        except OSError as error:
            if error.errno in DESCRIPTOR_ERRORS:
                self.runtime.log("warning", "accept_paused", reason=errno.errorcode[error.errno])
                self.rest(EXHAUSTED_REST)
            return False
        host = str(address[0])
        if host.startswith("::ffff:"):
            host = host[7:]
        if not self._admit(host):
            connection.close()
            return True
        connection.setblocking(False)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.runtime.starting += 1
        self.runtime.spawn(self._start(connection, host))
        return True

    def _admit(self, host: str) -> bool:
        """S3.9: half the descriptors in all, three quarters of that for one client; trusted proxies are exempt."""
        if self.open >= self.cap:
            self.runtime.metrics.add("rejects_total", ("connections",), ("code",))
            return False
        held = self.by_address.get(host, 0)
        if held >= self.address_cap and not self.runtime.proxies.trusts(host):
            self.runtime.metrics.add("rejects_total", ("connections_per_address",), ("code",))
            return False
        self.open += 1
        self.by_address[host] = held + 1
        return True

    def _forget(self, host: str) -> None:
        self.open -= 1
        held = self.by_address.get(host, 1) - 1
        if held > 0:
            self.by_address[host] = held
        else:
            self.by_address.pop(host, None)

    async def _start(self, sock: socket.socket, host: str) -> None:
        """PROXY header if there must be one, TLS if asked for, then the connection lives by itself."""
        loop = self.runtime.loop
        made = Http1Connection(self.runtime, self)
        try:
            if self.plan.proxy_protocol:
                self.proxied[made] = await self._read_proxy(sock)
            await loop.connect_accepted_socket(
                lambda: made,
                sock,
                ssl=self.context,
                ssl_handshake_timeout=self.runtime.plan.limits.tls_handshake if self.context is not None else None,
            )
        except (OSError, Fault, TimeoutError) as error:
            if made.peer is None:
                self._forget(host)
            self.proxied.pop(made, None)
            sock.close()
            if isinstance(error, ssl.SSLError):
                self.runtime.metrics.add("rejects_total", ("tls_handshake",), ("code",))
        except BaseException:
            if made.peer is None:
                self._forget(host)
            sock.close()
            raise
        finally:
            self.runtime.starting -= 1

    async def _read_proxy(self, sock: socket.socket) -> Announced:
        """Look at the first bytes without taking them, then take exactly the header (S4.5). Raises Fault or OSError."""
        loop = self.runtime.loop
        until = self.runtime.clock() + PROXY_WAIT
        seen = 0
        while self.runtime.clock() < until:
            ready = loop.create_future()
            loop.add_reader(sock.fileno(), lambda f=ready: None if f.done() else f.set_result(None))
            timer = loop.call_later(
                until - self.runtime.clock(), lambda f=ready: None if f.done() else f.set_result(None)
            )
            try:
                await ready
            finally:
                timer.cancel()
                loop.remove_reader(sock.fileno())
            try:
                data = sock.recv(PROXY_PEEK, socket.MSG_PEEK)
            except BlockingIOError:
                continue
            header = parse(data) if data else None
            if header is not None:
                sock.recv(header.size)
                return header
            if not data:
                break
            if len(data) == seen:
                await asyncio.sleep(PROXY_PAUSE)  # the peeked bytes keep the socket readable
            seen = len(data)
        raise ConnectionAbortedError("no PROXY header")

    # -- connections -------------------------------------------------------------------------------------------------

    def peer_of(self, transport: Any) -> Peer:
        """Who is on the other side."""
        address = transport.get_extra_info("peername") or ("", 0)
        own = transport.get_extra_info("sockname") or ("", self.plan.port)
        host, port = str(address[0]), int(address[1])
        if host.startswith("::ffff:"):
            host = host[7:]
        proxied = self.proxied.pop(transport.get_protocol(), None) if self.proxied else None
        socket_host = host
        if proxied is not None and proxied.ip:
            host, port = proxied.ip, proxied.port
        tls = transport.get_extra_info("ssl_object")
        peer = Peer(
            self.plan.name, host, port, int(own[1]), trusted=self.runtime.proxies.trusts(host),
            scheme="https" if tls is not None else "http",
        )  # fmt: skip
        peer.socket_host = socket_host
        if tls is not None:
            peer.tls = tls.version() or ""
            peer.certificate = tls.getpeercert(True) or b""
        return peer

    def closed(self, connection: Http1Connection) -> None:
        if connection.peer is not None:
            self._forget(connection.peer.socket_host)

    def __repr__(self) -> str:
        return f"<Listener {self.plan.name} {self.open} open>"
