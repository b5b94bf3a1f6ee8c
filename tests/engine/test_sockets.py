"""The engine on real sockets over loopback: what fakes cannot know (S3.9, S3.11, S4.5, S16.6, S18.15)."""

from __future__ import annotations

import asyncio
import errno
import json
import resource
import socket
import ssl
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import trustme
import uvloop
import websockets
from conversation import First, Kept, NoLimits
from conversation import route as route_of

from fakes import FakeConsumers, FakeKeySets
from tidegate.engine.downstream import listener as listener_module
from tidegate.engine.engine import Engine
from tidegate.engine.runtime import Runtime
from tidegate.engine.tools import EngineTools
from tidegate.exchange.head import Answer
from tidegate.ports.plan import (
    CertificatePlan,
    HookPlan,
    ListenerPlan,
    ListenerTlsPlan,
    Plan,
    RetryPlan,
    RoutePlan,
    TargetPlan,
    UpstreamPlan,
    UpstreamTlsPlan,
)
from tidegate.rules.match_route import RouteEntry, build

MEGABYTE = 1 << 20
Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Gateway:
    """One engine on one real listener."""

    def __init__(
        self, plan: ListenerPlan, route: RoutePlan, upstreams: tuple[UpstreamPlan, ...], **settings: Any
    ) -> None:
        self.sink = Kept()
        loop = asyncio.get_running_loop()
        self.defects: list[BaseException] = []
        self.tools = EngineTools(
            loop=loop, config_folder=Path(), data_folder=Path("/nonexistent"), consumers=FakeConsumers(),
            limits=NoLimits(), key_sets=FakeKeySets(), report=self.defects.append,
        )  # fmt: skip
        self.engine = Engine(self.tools, None, 0, 1)
        entry = RouteEntry(route, route.name, route.prefix, "prefix", (), frozenset(), (), (), 0)
        self.plan = Plan(
            generation=1, name="tidegate", listeners=(plan,), router=build([entry]), routes=(route,),
            upstreams={u.name: u for u in upstreams}, sinks=(self.sink,), **settings,
        )  # fmt: skip
        self.socket = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port: int = self.socket.getsockname()[1]

    async def __aenter__(self) -> Gateway:
        await self.engine.start(self.plan, {"test": self.socket})
        return self

    @property
    def runtime(self) -> Runtime:
        return self.engine.running()

    async def __aexit__(self, *_: Any) -> None:
        self.engine.stop_accepting()
        self.engine.abort_all()
        await asyncio.sleep(0.05)
        self.engine.close()
        self.socket.close()
        assert self.defects == []


def run(scene: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(30.0):
            await scene()

    uvloop.run(bounded())


def listener(**settings: Any) -> ListenerPlan:
    return ListenerPlan("test", "127.0.0.1", 0, **settings)


def upstream(port: int, scheme: str = "http", host: str = "127.0.0.1", **settings: Any) -> UpstreamPlan:
    settings.setdefault("retry", RetryPlan(attempts=0))
    return UpstreamPlan("up", (TargetPlan(scheme, host, port),), First(), warm=0, **settings)


class Served:
    """An upstream on a real socket; *handler* has each connection."""

    def __init__(self, handler: Handler, context: ssl.SSLContext | None = None) -> None:
        self.handler = handler
        self.context = context
        self.port = 0

    async def __aenter__(self) -> Served:
        self.server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self.context)
        self.port = self.server.sockets[0].getsockname()[1]
        return self

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            await self.handler(reader, writer)
        writer.close()

    async def __aexit__(self, *_: Any) -> None:
        self.server.close()


async def hello(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answers every request with its own head."""
    while True:
        head = await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(head) + head)


async def ask(port: int, words: bytes, context: ssl.SSLContext | None = None, name: str | None = None) -> bytes:
    """One whole conversation: say *words*, hear all until the other side closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname=name)
    try:
        writer.write(words)
        return await reader.read(-1)
    finally:
        writer.close()


GET = b"GET /a HTTP/1.1\r\nHost: gw\r\nConnection: close\r\n\r\n"


def server_context(ca: trustme.CA, *names: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert(*names).configure_cert(context)
    return context


def client_context(ca: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    ca.configure_trust(context)
    return context


def written(cert: trustme.LeafCert, folder: Path, stem: str) -> CertificatePlan:
    chain, key = folder / f"{stem}.pem", folder / f"{stem}.key"
    chain.write_bytes(b"".join(blob.bytes() for blob in cert.cert_chain_pems))
    key.write_bytes(cert.private_key_pem.bytes())
    return CertificatePlan(str(chain), str(key))


def peer_certificate(port: int, ca: trustme.CA, name: str) -> Awaitable[bytes]:
    async def look() -> bytes:
        context = client_context(ca)
        _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname=name)
        found: bytes = writer.get_extra_info("ssl_object").getpeercert(True)
        writer.close()
        return found

    return look()


def test_a_request_goes_through_and_connections_are_kept() -> None:
    async def scene() -> None:
        async with Served(hello) as up, Gateway(listener(), route_of(), (upstream(up.port),)) as gateway:
            reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
            for _ in range(3):
                writer.write(GET.replace(b"Connection: close\r\n", b""))
                head = await reader.readuntil(b"\r\n\r\n")
                assert head.startswith(b"HTTP/1.1 200 OK\r\n")
                echoed = await reader.readuntil(b"\r\n\r\n")
                assert b"\r\nx-forwarded-for: 127.0.0.1\r\n" in echoed
            writer.close()
            [pool] = gateway.runtime.upstreams["up"].pools.values()
            assert pool.events["opened"] == 1
            await asyncio.sleep(0.05)
            assert gateway.runtime.connections == set()
            assert gateway.engine.listeners["test"].open == 0

    run(scene)


def test_fifty_megabytes_stream_both_ways_in_flat_memory_s3_8_s3_12() -> None:
    size = 50 * MEGABYTE

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % size)
        left = size
        while left:
            piece = await reader.read(MEGABYTE)
            left -= len(piece)
            writer.write(piece)
            await writer.drain()

    async def scene() -> None:
        route = route_of(body_limit=size)
        async with Served(echo) as up, Gateway(listener(), route, (upstream(up.port),)) as gateway:
            reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

            async def sends() -> None:
                writer.write(b"PUT / HTTP/1.1\r\nHost: gw\r\nContent-Length: %d\r\n\r\n" % size)
                for number in range(50):
                    writer.write(bytes([number]) * MEGABYTE)
                    await writer.drain()

            sending = asyncio.ensure_future(sends())
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200 ")
            for number in range(50):
                piece = await reader.readexactly(MEGABYTE)
                assert piece == bytes([number]) * MEGABYTE
                if number % 10 == 0:
                    await asyncio.sleep(0.02)  # a reader slower than its writer
            await sending
            writer.close()
            grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
            assert grown < 24 * 1024, f"{grown} KiB"
            await asyncio.sleep(0.05)
            assert (gateway.sink.records[0].bytes_in, gateway.sink.records[0].end) == (size, "complete")

    run(scene)


def test_tls_picks_the_certificate_by_name_and_refuses_unknown_ones_s3_11(tmp_path: Path) -> None:
    async def scene() -> None:
        ca = trustme.CA()
        certificates = (
            written(ca.issue_cert("a.example"), tmp_path, "a"),
            written(ca.issue_cert("*.b.example"), tmp_path, "b"),
        )
        tls = ListenerTlsPlan(certificates, default=False)
        async with Served(hello) as up, Gateway(listener(tls=tls), route_of(), (upstream(up.port),)) as gateway:
            for name in ("a.example", "x.b.example"):
                heard = await ask(gateway.port, GET, client_context(ca), name)
                assert b"\r\nx-forwarded-proto: https\r\n" in heard
            with pytest.raises((ssl.SSLError, ConnectionError)):  # uvloop closes before its alert is out
                await ask(gateway.port, GET, client_context(ca), "c.example")
            old = client_context(ca)
            old.maximum_version = ssl.TLSVersion.TLSv1_2
            assert (await ask(gateway.port, GET, old, "a.example")).startswith(b"HTTP/1.1 200 ")
            assert {r.tls for r in gateway.sink.records} == {"TLSv1.3", "TLSv1.2"}
            for _ in range(20):
                await asyncio.sleep(0.01)
            assert gateway.engine.listeners["test"].open == 0

    run(scene)


def test_a_client_certificate_is_asked_for_and_handed_on_s7_15(tmp_path: Path) -> None:
    async def scene() -> None:
        ca, clients, strangers = trustme.CA(), trustme.CA(), trustme.CA()
        anchor = tmp_path / "clients.pem"
        clients.cert_pem.write_to_path(str(anchor))
        tls = ListenerTlsPlan((written(ca.issue_cert("a.example"), tmp_path, "a"),), str(anchor), "require")

        seen: list[bytes] = []

        def look(x: Any) -> Answer:
            seen.append(x.peer.certificate)
            return Answer(200, [], b"seen")

        route = route_of(on_request_head=(HookPlan(look, "look"),))
        async with Gateway(listener(tls=tls), route, (upstream(9),)) as gateway:
            good = client_context(ca)
            clients.issue_cert("me.example").configure_cert(good)
            assert (await ask(gateway.port, GET, good, "a.example")).endswith(b"seen")
            assert len(seen[0]) > 200
            strange = client_context(ca)
            strangers.issue_cert("me.example").configure_cert(strange)
            for context in (strange, client_context(ca)):
                with suppress(ssl.SSLError, ConnectionError):  # by TLS 1.3 the alert may come behind the handshake
                    assert await ask(gateway.port, GET, context, "a.example") == b""
            assert len(seen) == 1

    run(scene)


def test_new_certificates_are_taken_up_and_nobody_is_cut_s3_11(tmp_path: Path) -> None:
    async def scene() -> None:
        ca = trustme.CA()
        first = ListenerTlsPlan((written(ca.issue_cert("a.example"), tmp_path, "one"),))
        async with Served(hello) as up, Gateway(listener(tls=first), route_of(), (upstream(up.port),)) as gateway:
            reader, writer = await asyncio.open_connection(
                "127.0.0.1", gateway.port, ssl=client_context(ca), server_hostname="a.example"
            )
            before = await peer_certificate(gateway.port, ca, "a.example")
            second = ListenerTlsPlan((written(ca.issue_cert("a.example"), tmp_path, "two"),))
            gateway.engine.listeners["test"].apply(listener(tls=second))
            assert await peer_certificate(gateway.port, ca, "a.example") != before
            writer.write(GET)
            assert (await reader.read(-1)).startswith(b"HTTP/1.1 200 ")
            writer.close()

    run(scene)


def test_an_upstreams_new_authority_is_taken_up_when_only_its_file_has_changed_s3_11(tmp_path: Path) -> None:
    async def scene() -> None:
        old, new = trustme.CA(), trustme.CA()
        anchor = tmp_path / "ca.pem"
        anchor.write_bytes(old.cert_pem.bytes())
        async with Served(hello, server_context(new, "127.0.0.1")) as up:
            tls = UpstreamTlsPlan(ca=str(anchor), files=((1, 1, 1),))
            plan = upstream(up.port, scheme="https", tls=tls)
            async with Gateway(listener(), route_of(), (plan,)) as gateway:
                assert (await ask(gateway.port, GET)).startswith(b"HTTP/1.1 502 ")
                anchor.write_bytes(new.cert_pem.bytes())
                gateway.runtime.upstreams["up"].apply(replace(plan, tls=replace(tls, files=((1, 1, 2),))))
                assert (await ask(gateway.port, GET)).startswith(b"HTTP/1.1 200 ")

    run(scene)


def test_a_connection_counts_from_the_moment_it_was_accepted_s23_5(tmp_path: Path) -> None:
    async def scene() -> None:
        tls = ListenerTlsPlan((written(trustme.CA().issue_cert("a.example"), tmp_path, "one"),))
        async with Served(hello) as up, Gateway(listener(tls=tls), route_of(), (upstream(up.port),)) as gateway:
            _, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
            while not gateway.runtime.starting:
                await asyncio.sleep(0.001)
            assert (gateway.runtime.connections, gateway.engine.in_flight()) == (set(), 1)
            writer.close()
            while gateway.engine.in_flight():
                await asyncio.sleep(0.001)

    run(scene)


def test_an_upstream_may_ask_for_our_certificate_s16_1(tmp_path: Path) -> None:
    async def scene() -> None:
        ca = trustme.CA()
        anchor = tmp_path / "ca.pem"
        ca.cert_pem.write_to_path(str(anchor))
        own = written(ca.issue_cert("gateway.example"), tmp_path, "own")
        context = server_context(ca, "127.0.0.1")
        context.verify_mode = ssl.CERT_REQUIRED
        ca.configure_trust(context)
        tls = UpstreamTlsPlan(ca=str(anchor), cert=own.cert, key=own.key)
        async with (
            Served(hello, context) as up,
            Gateway(listener(), route_of(), (upstream(up.port, "https", tls=tls),)) as gateway,
        ):
            heard = await ask(gateway.port, GET)
            assert heard.startswith(b"HTTP/1.1 200 ") and b"\r\nhost: gw\r\n" in heard

    run(scene)


@pytest.mark.parametrize("trouble", ["unknown issuer", "wrong name", "no TLS at all"])
def test_a_bad_upstream_certificate_is_502_tls_error_s16_6(tmp_path: Path, trouble: str) -> None:
    async def scene() -> None:
        ca = trustme.CA()
        anchor = tmp_path / "ca.pem"
        (trustme.CA() if trouble == "unknown issuer" else ca).cert_pem.write_to_path(str(anchor))
        context = server_context(ca, "other.example" if trouble == "wrong name" else "127.0.0.1")
        tls = UpstreamTlsPlan(ca=str(anchor))
        async with (
            Served(hello, None if trouble == "no TLS at all" else context) as up,
            Gateway(listener(), route_of(), (upstream(up.port, "https", tls=tls),)) as gateway,
        ):
            if trouble == "no TLS at all":
                up.handler = shouts
            heard = await ask(gateway.port, GET)
            assert heard.startswith(b"HTTP/1.1 502 ") and b'"code":"tls_error"' in heard
            assert b"proxy-status: tidegate; error=tls_certificate_error" in heard
            assert gateway.sink.records[0].reason == "tls"

    run(scene)


async def shouts(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"220 mail.example ESMTP\r\n")
    await reader.read(1)


def test_nobody_listening_is_503_and_a_reset_is_502() -> None:
    async def resets(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.transport.abort()

    async def scene() -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            nobody = free.getsockname()[1]
        async with Gateway(listener(), route_of(), (upstream(nobody),)) as gateway:
            heard = await ask(gateway.port, GET)
            assert heard.startswith(b"HTTP/1.1 503 ") and b'"reason":"connect_failed"' in heard
        async with Served(resets) as up, Gateway(listener(), route_of(), (upstream(up.port),)) as gateway:
            heard = await ask(gateway.port, GET)
            assert heard.startswith(b"HTTP/1.1 502 ") and b'"reason":"reset"' in heard

    run(scene)


V1 = b"PROXY TCP4 203.0.113.9 192.0.2.1 5000 443\r\n"
V2 = (
    b"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c"
    + bytes([203, 0, 113, 9, 192, 0, 2, 1])
    + (5000).to_bytes(2, "big")
    + (443).to_bytes(2, "big")
)


def test_the_proxy_protocol_names_the_client_s4_5(tmp_path: Path) -> None:
    async def scene() -> None:
        plan = listener(proxy_protocol=True)
        async with Served(hello) as up, Gateway(plan, route_of(), (upstream(up.port),)) as gateway:
            for header in (V1, V2):
                assert b"\r\nx-forwarded-for: 203.0.113.9\r\n" in await ask(gateway.port, header + GET)
            reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
            for byte in V1 + GET:
                writer.write(bytes([byte]))
                await asyncio.sleep(0)
            assert b"\r\nx-forwarded-for: 203.0.113.9\r\n" in await reader.read(-1)
            writer.close()
            for bad in (GET, b"PROXY NONSENSE\r\n" + GET):
                with suppress(ConnectionError):
                    assert await ask(gateway.port, bad) == b""
            assert {r.client_ip for r in gateway.sink.records} == {"203.0.113.9"}
            for _ in range(20):
                await asyncio.sleep(0.01)
            assert (gateway.engine.listeners["test"].open, gateway.engine.listeners["test"].proxied) == (0, {})
        ca = trustme.CA()
        tls = ListenerTlsPlan((written(ca.issue_cert("a.example"), tmp_path, "a"),))
        plan = listener(proxy_protocol=True, tls=tls)
        async with Served(hello) as up, Gateway(plan, route_of(), (upstream(up.port),)) as gateway:
            raw = socket.create_connection(("127.0.0.1", gateway.port))
            raw.sendall(V2)
            raw.setblocking(False)
            reader, writer = await asyncio.open_connection(
                sock=raw, ssl=client_context(ca), server_hostname="a.example"
            )
            writer.write(GET)
            assert b"\r\nx-forwarded-for: 203.0.113.9\r\n" in await reader.read(-1)
            writer.close()

    run(scene)


def test_websocket_messages_pass_both_ways_and_a_drain_says_goodbye_s18_15_s23_5() -> None:
    async def echo(connection: Any) -> None:
        async for message in connection:
            await connection.send(message)

    async def scene() -> None:
        async with websockets.serve(echo, "127.0.0.1", 0, max_size=None) as server:
            port = next(iter(server.sockets)).getsockname()[1]
            async with Gateway(listener(), route_of(), (upstream(port),), drain_finish=0.2) as gateway:
                async with websockets.connect(f"ws://127.0.0.1:{gateway.port}/chat", compression=None) as client:
                    for message in ("hello", b"\0" * 300_000, "", "z" * 70_000):
                        await client.send(message)
                        assert await client.recv() == message
                    assert len(gateway.runtime.tunnels) == 1
                async with websockets.connect(f"ws://127.0.0.1:{gateway.port}/chat") as client:
                    gateway.engine.begin_drain()
                    gateway.engine.stop_accepting()
                    with pytest.raises(websockets.ConnectionClosed) as caught:
                        await client.recv()
                    assert caught.value.rcvd is not None and caught.value.rcvd.code == 1001
                await asyncio.sleep(0.1)
                assert gateway.runtime.tunnels == set()
                assert [r.status for r in gateway.sink.records] == [101, 101]
                assert gateway.sink.records[0].bytes_in > 370_000

    run(scene)


def test_without_descriptors_accepting_pauses_and_comes_back_s3_9(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Exhausted:
        """A listening socket whose first accept finds no descriptor."""

        def __init__(self, sock: socket.socket) -> None:
            self.sock = sock
            self.failures = 1

        def accept(self) -> Any:
            if self.failures:
                self.failures -= 1
                raise OSError(errno.EMFILE, "too many open files")
            return self.sock.accept()

        def fileno(self) -> int:
            return self.sock.fileno()

    async def scene() -> None:
        monkeypatch.setattr(listener_module, "EXHAUSTED_REST", 0.1)
        async with Served(hello) as up, Gateway(listener(), route_of(), (upstream(up.port),)) as gateway:
            one = gateway.engine.listeners["test"]
            one.sock = Exhausted(gateway.socket)  # type: ignore[assignment]
            begun = asyncio.get_running_loop().time()
            assert (await ask(gateway.port, GET)).startswith(b"HTTP/1.1 200 ")
            assert asyncio.get_running_loop().time() - begun >= 0.1
            [line] = [json.loads(text) for text in capsys.readouterr().err.splitlines()]
            assert (line["event"], line["reason"]) == ("accept_paused", "EMFILE")

    run(scene)
